"""Tasks: which labels a checkpoint answers, as their data sets write them.

A statement of PTB-XL counts for a record when it stands among its `scp_codes`, whatever its
likelihood, as in the data set's own benchmark (Strodthoff et al., 2021). CPSC2018 and CSN are told in
SNOMED CT codes, as the headers of the PhysioNet challenges 2020 and 2021 write them. A record is only
ever asked in the vocabulary of its data set: `in_vocabulary` says what of a task another one can tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Task:
    """A label set.

    Attributes
    ----------
    name : how `finetune --task` and checkpoints call it
    labels : in the order of every (label,) array
    descriptions : label -> plain words
    statements : label -> the source statements that count as it (a label without an entry is its own)
    vocabulary : what the statements are written in: SCP, SNOMED or LUDB
    unclear : statements that leave a label open; a record with one of them is not judged by this task
    """

    name: str
    labels: tuple[str, ...]
    descriptions: Mapping[str, str]
    statements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vocabulary: str = "SCP"
    unclear: frozenset[str] = frozenset()

    def encode(self, statements: Iterable[str]) -> list[int]:
        """0/1 for each label, from a record's statements."""
        there = set(statements)
        return [
            int(bool(there & self.statements[label]) if label in self.statements else label in there)
            for label in self.labels
        ]


# code | d(iagnostic) f(orm) r(hythm) | superclass | subclass | words, in scp_statements.csv's order
_SCP = """\
NDT|df|STTC|STTC|non-diagnostic T abnormalities
NST_|df|STTC|NST_|non-specific ST changes
DIG|df|STTC|STTC|digitalis-effect
LNGQT|df|STTC|STTC|long QT-interval
NORM|d|NORM|NORM|normal ECG
IMI|d|MI|IMI|inferior myocardial infarction
ASMI|d|MI|AMI|anteroseptal myocardial infarction
LVH|d|HYP|LVH|left ventricular hypertrophy
LAFB|d|CD|LAFB/LPFB|left anterior fascicular block
ISC_|d|STTC|ISC_|non-specific ischemic
IRBBB|d|CD|IRBBB|incomplete right bundle branch block
1AVB|d|CD|_AVB|first degree AV block
IVCD|d|CD|IVCD|non-specific intraventricular conduction disturbance (block)
ISCAL|d|STTC|ISCA|ischemic in anterolateral leads
CRBBB|d|CD|CRBBB|complete right bundle branch block
CLBBB|d|CD|CLBBB|complete left bundle branch block
ILMI|d|MI|IMI|inferolateral myocardial infarction
LAO/LAE|d|HYP|LAO/LAE|left atrial overload/enlargement
AMI|d|MI|AMI|anterior myocardial infarction
ALMI|d|MI|AMI|anterolateral myocardial infarction
ISCIN|d|STTC|ISCI|ischemic in inferior leads
INJAS|d|MI|AMI|subendocardial injury in anteroseptal leads
LMI|d|MI|LMI|lateral myocardial infarction
ISCIL|d|STTC|ISCI|ischemic in inferolateral leads
LPFB|d|CD|LAFB/LPFB|left posterior fascicular block
ISCAS|d|STTC|ISCA|ischemic in anteroseptal leads
INJAL|d|MI|AMI|subendocardial injury in anterolateral leads
ISCLA|d|STTC|ISCA|ischemic in lateral leads
RVH|d|HYP|RVH|right ventricular hypertrophy
ANEUR|d|STTC|STTC|ST-T changes compatible with ventricular aneurysm
RAO/RAE|d|HYP|RAO/RAE|right atrial overload/enlargement
EL|d|STTC|STTC|electrolytic disturbance or drug effect
WPW|d|CD|WPW|Wolff-Parkinson-White syndrome
ILBBB|d|CD|ILBBB|incomplete left bundle branch block
IPLMI|d|MI|IMI|inferoposterolateral myocardial infarction
ISCAN|d|STTC|ISCA|ischemic in anterior leads
IPMI|d|MI|IMI|inferoposterior myocardial infarction
SEHYP|d|HYP|SEHYP|septal hypertrophy
INJIN|d|MI|IMI|subendocardial injury in inferior leads
INJLA|d|MI|AMI|subendocardial injury in lateral leads
PMI|d|MI|PMI|posterior myocardial infarction
3AVB|d|CD|_AVB|third degree AV block
INJIL|d|MI|IMI|subendocardial injury in inferolateral leads
2AVB|d|CD|_AVB|second degree AV block
ABQRS|f|||abnormal QRS
PVC|f|||ventricular premature complex
STD_|f|||non-specific ST depression
VCLVH|f|||voltage criteria (QRS) for left ventricular hypertrophy
QWAVE|f|||Q waves present
LOWT|f|||low amplitude T-waves
NT_|f|||non-specific T-wave changes
PAC|f|||atrial premature complex
LPR|f|||prolonged PR interval
INVT|f|||inverted T-waves
LVOLT|f|||low QRS voltages in the frontal and horizontal leads
HVOLT|f|||high QRS voltage
TAB_|f|||T-wave abnormality
STE_|f|||non-specific ST elevation
PRC(S)|f|||premature complex(es)
SR|r|||sinus rhythm
AFIB|r|||atrial fibrillation
STACH|r|||sinus tachycardia
SARRH|r|||sinus arrhythmia
SBRAD|r|||sinus bradycardia
PACE|r|||normal functioning artificial pacemaker
SVARR|r|||supraventricular arrhythmia
BIGU|r|||bigeminal pattern (unknown origin, SV or Ventricular)
AFLT|r|||atrial flutter
SVTAC|r|||supraventricular tachycardia
PSVT|r|||paroxysmal supraventricular tachycardia
TRIGU|r|||trigeminal pattern (unknown origin, SV or Ventricular)
"""

_SUPER = {
    "NORM": "normal ECG",
    "MI": "myocardial infarction",
    "STTC": "ST/T change",
    "CD": "conduction disturbance",
    "HYP": "hypertrophy",
}
_SUB = {
    "AMI": "anterior myocardial infarction",
    "CLBBB": "complete left bundle branch block",
    "CRBBB": "complete right bundle branch block",
    "ILBBB": "incomplete left bundle branch block",
    "IMI": "inferior myocardial infarction",
    "IRBBB": "incomplete right bundle branch block",
    "ISCA": "ischemic in anterior, septal or lateral leads",
    "ISCI": "ischemic in inferior leads",
    "ISC_": "non-specific ischemic",
    "IVCD": "non-specific intraventricular conduction disturbance",
    "LAFB/LPFB": "left anterior or posterior fascicular block",
    "LAO/LAE": "left atrial overload/enlargement",
    "LMI": "lateral myocardial infarction",
    "LVH": "left ventricular hypertrophy",
    "NORM": "normal ECG",
    "NST_": "non-specific ST changes",
    "PMI": "posterior myocardial infarction",
    "RAO/RAE": "right atrial overload/enlargement",
    "RVH": "right ventricular hypertrophy",
    "SEHYP": "septal hypertrophy",
    "STTC": "other ST/T change",
    "WPW": "Wolff-Parkinson-White syndrome",
    "_AVB": "AV block",
}
# label | SNOMED CT codes in challenge headers | words; the challenges score codes that stand together as one
_CPSC2018 = """\
SNR|426783006|normal sinus rhythm
AF|164889003|atrial fibrillation
IAVB|270492004|first degree AV block
LBBB|164909002 733534002|left bundle branch block
RBBB|59118001 713427006|right bundle branch block
PAC|284470004 63593006|premature atrial contraction
PVC|164884008 427172004 17338001|premature ventricular contraction
STD|429622005|ST-segment depression
STE|164931005|ST-segment elevation
"""

# The 38 labels of the field (MERL, Liu et al. 2024, and those who use its splits), under the names of the
# data set's ConditionNames_SNOMED-CT.csv. Sinus bradycardia is none of them. MERL's tables look for a name
# *within* the list of names, so that AF (flutter) is also set for AFIB, SA for LVQRSAL, ST for STTC and
# AVB for 1AVB, and they leave out records with a code beyond that file; here a label is its code alone.
_CSN = """\
AQW|164917005|abnormal Q wave
UW|164937009|U wave
SR|426783006|sinus rhythm
WPW|74390002|Wolff-Parkinson-White pattern
2AVB|195042002|second degree AV block
AT|713422000|atrial tachycardia
VB|11157007|ventricular bigeminy
ARS|47665007|axis right shift
STTC|428750005|ST-T change
SA|427393009|sinus irregularity
STE|164930006|ST extension
VPB|17338001|ventricular premature beat
TWO|59931005|T wave opposite (inverted)
STTU|164931005|ST tilt up (elevation)
ALS|39732003|axis left shift
APB|284470004|atrial premature beats
2AVB1|54016002|second degree AV block, type one
PRIE|164947007|PR interval extension
CCR|251199005|counterclockwise rotation
CR|251198002|clockwise rotation
AF|164890007|atrial flutter
AVB|233917008|atrioventricular block
QTIE|111975006|QT interval extension
LBBB|164909002|left bundle branch block
VEB|75532003|ventricular escape beat
SVT|426761007|supraventricular tachycardia
RBBB|59118001|right bundle branch block
1AVB|270492004|first degree AV block
STDD|429622005|ST drop down (depression)
MI|164865005|myocardial infarction
AFIB|164889003|atrial fibrillation
TWC|164934002|T wave change
PWC|164912004|P wave change
ERV|428417006|early repolarisation of the ventricles
RVH|89792004|right ventricular hypertrophy
LVH|164873001|left ventricular hypertrophy
ST|427084000|sinus tachycardia
JEB|426995002|junctional escape beat
"""

# statement | what of PTB-XL it matches: a statement of its own, or task/label where only that much is said.
# A left or right bundle branch block counts as complete: the challenge publishes PTB-XL's CLBBB as 164909002
# and scores 59118001 and 713427006 as one. An infarction or ischaemia tells its superclass alone: most
# records of these sources leave its place open, and would pass for negatives of AMI, IMI, ISCA ...
_SNOMED = """\
270492004|1AVB
195042002|2AVB
54016002|2AVB
28189009|2AVB
426183003|2AVB
27885002|3AVB
233917008|superdiagnostic/CD subdiagnostic/_AVB
6374002|superdiagnostic/CD
82226007|superdiagnostic/CD
164909002|CLBBB
733534002|CLBBB
59118001|CRBBB
713427006|CRBBB
713426002|IRBBB
251120003|ILBBB
445118002|LAFB
445211001|LPFB
698252002|IVCD
74390002|WPW
164865005|superdiagnostic/MI
164867002|superdiagnostic/MI
57054005|superdiagnostic/MI
54329005|superdiagnostic/MI
428750005|superdiagnostic/STTC
55930002|superdiagnostic/STTC
164930006|superdiagnostic/STTC
164934002|superdiagnostic/STTC
164861001|superdiagnostic/STTC
413844008|superdiagnostic/STTC
413444003|superdiagnostic/STTC
426434006|superdiagnostic/STTC
425419005|superdiagnostic/STTC
425623009|superdiagnostic/STTC
429622005|superdiagnostic/STTC STD_
164931005|superdiagnostic/STTC STE_
59931005|superdiagnostic/STTC INVT
111975006|superdiagnostic/STTC diagnostic/LNGQT form/LNGQT all/LNGQT
164873001|LVH
89792004|RVH
67741000119109|LAO/LAE
446813000|LAO/LAE
253352002|LAO/LAE
446358003|RAO/RAE
253339007|RAO/RAE
266249003|superdiagnostic/HYP
195126007|superdiagnostic/HYP
164951009|ABQRS
427172004|PVC
17338001|PVC
164884008|PVC
284470004|PAC
63593006|PAC
164917005|QWAVE
164947007|LPR
251146004|LVOLT
426783006|SR
164889003|AFIB
427084000|STACH
427393009|SARRH
426177001|SBRAD
10370003|PACE
251266004|PACE
251268003|PACE
164890007|AFLT
426761007|SVTAC
713422000|SVTAC
251166008|SVTAC
233896004|SVTAC
233897008|SVTAC
67198005|PSVT
11157007|BIGU
251173003|BIGU
251168009|BIGU
251180001|TRIGU
"""

# LUDB's words up to the first comma or colon
_LUDB = """\
I degree av block|1AVB
Iii degree av-block|3AVB
Complete left bundle branch block|CLBBB
Complete right bundle branch block|CRBBB
Incomplete left bundle branch block|ILBBB
Incomplete right bundle branch block|IRBBB
Left anterior hemiblock|LAFB
Non-specific intravintricular conduction delay|IVCD
Stemi|superdiagnostic/MI
Scar formation|superdiagnostic/MI
Ischemia|superdiagnostic/STTC
Non-specific repolarization abnormalities|superdiagnostic/STTC
Left ventricular hypertrophy|LVH
Right ventricular hypertrophy|RVH
Left atrial hypertrophy|LAO/LAE
Left atrial overload|LAO/LAE
Right atrial hypertrophy|RAO/RAE
Right atrial overload|RAO/RAE
Ventricular extrasystole|PVC
Atrial extrasystole|PAC
Sinus rhythm|SR
Sinus bradycardia|SBRAD
Sinus tachycardia|STACH
Sinus arrhythmia|SARRH
Irregular sinus rhythm|SARRH
Atrial fibrillation|AFIB
Atrial flutter|AFLT
Pacemaker presence|PACE
Unipolar ventricular pacing|PACE
Bipolar ventricular pacing|PACE
Unipolar atrial pacing|PACE
Biventricular pacing|PACE
"""

# What leaves a label open: left ventricular or right atrial high voltage (hypertrophy or not), prolonged PR
# (a block or not), pre-excitation (WPW or not), a paced QRS; and for subclasses, blocks and hypertrophies
# that are not named further.
_PACED = ("10370003", "251266004", "251268003", "Pacemaker presence", "Unipolar ventricular pacing",
          "Bipolar ventricular pacing", "Unipolar atrial pacing", "Biventricular pacing")  # fmt: skip
_OPEN = frozenset({"55827005", "67751000119106", "164947007", "195060002", *_PACED})
_UNCLEAR = {
    "superdiagnostic": _OPEN | {"Undefined ischemia/scar/supp.nstemi"},
    "subdiagnostic": _OPEN | {"6374002", "82226007", "266249003", "195126007"},
    "rhythm": frozenset({"426627000", "195080001"}),  # bradycardia; fibrillation and flutter
}


def _targets(table: str) -> dict[str, frozenset[str]]:
    rows = (line.split("|") for line in table.strip().splitlines())
    return {statement: frozenset(targets.split()) for statement, targets in rows}


VOCABULARIES: dict[str, dict[str, frozenset[str]]] = {"SNOMED": _targets(_SNOMED), "LUDB": _targets(_LUDB)}
"""Vocabulary -> statement -> what of PTB-XL it matches: a statement of its own, or "task/label"."""


def in_vocabulary(task: Task, vocabulary: str) -> Task:
    """A task of PTB-XL as another hospital's statements tell it.

    Parameters
    ----------
    task : told in SCP statements
    vocabulary : SCP, or a key of `VOCABULARIES`

    Returns
    -------
    Task : of the same name, with those of its labels that the vocabulary has a word for, in order

    Raises
    ------
    ValueError : the vocabulary is unknown, or tells no label of the task
    """
    if vocabulary == task.vocabulary:
        return task
    if task.vocabulary != "SCP" or vocabulary not in VOCABULARIES:
        raise ValueError(
            f"task {task.name} is told in {task.vocabulary}, not in {vocabulary!r}; "
            f"tasks of SCP can also be told in {', '.join(VOCABULARIES)}."
        )
    table = VOCABULARIES[vocabulary]
    told = {}
    for label in task.labels:
        wanted = {*task.statements.get(label, {label}), f"{task.name}/{label}"}
        if codes := frozenset(statement for statement, targets in table.items() if targets & wanted):
            told[label] = codes
    if not told:
        raise ValueError(f"{vocabulary} has no word for any label of task {task.name}.")
    words = {label: task.descriptions[label] for label in told}
    return Task(task.name, tuple(told), words, told, vocabulary, _UNCLEAR.get(task.name, frozenset()))


def _ptbxl_tasks() -> dict[str, Task]:
    rows = [line.split("|") for line in _SCP.strip().splitlines()]
    words = {code: description for code, _, _, _, description in rows}

    def own(name: str, kind: str) -> Task:
        labels = tuple(code for code, kinds, *_ in rows if kind in kinds)
        return Task(name, labels, {label: words[label] for label in labels})

    def grouped(name: str, column: int, descriptions: Mapping[str, str]) -> Task:
        members = {label: frozenset(row[0] for row in rows if row[column] == label) for label in descriptions}
        return Task(name, tuple(descriptions), descriptions, members)

    tasks = (
        grouped("superdiagnostic", 2, _SUPER),
        grouped("subdiagnostic", 3, _SUB),
        own("form", "f"),
        own("rhythm", "r"),
        own("diagnostic", "d"),
        own("all", ""),
    )
    return {task.name: task for task in tasks}


def _snomed_task(name: str, table: str) -> Task:
    rows = [line.split("|") for line in table.strip().splitlines()]
    words = {label: description for label, _, description in rows}
    codes = {label: frozenset(those.split()) for label, those, _ in rows}
    return Task(name, tuple(words), words, codes, "SNOMED")


TASKS: dict[str, Task] = {
    **_ptbxl_tasks(),
    "cpsc2018": _snomed_task("cpsc2018", _CPSC2018),
    "csn": _snomed_task("csn", _CSN),
}
