"""Tasks: which labels a checkpoint answers, as their data sets write them.

A statement of PTB-XL counts for a record when it stands among its `scp_codes`, whatever its
likelihood, as in the data set's own benchmark (Strodthoff et al., 2021). CPSC2018 and CSN are told in
SNOMED CT codes, as the headers of the PhysioNet challenges 2020 and 2021 write them. A label set of one's
own is its own vocabulary (`own_tasks`). A record is only ever asked in the vocabulary of its data set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import category


@dataclass(frozen=True)
class Task:
    """A label set.

    Attributes
    ----------
    name : how `finetune --task` and checkpoints call it
    labels : in the order of every (label,) array
    descriptions : label -> plain words
    statements : label -> the source statements that count as it (a label without an entry is its own)
    vocabulary : what the statements are written in: SCP, SNOMED, or the name of a label set of one's own
    of_time : labels that say when beats come, and nothing of their shape
    """

    name: str
    labels: tuple[str, ...]
    descriptions: Mapping[str, str]
    statements: Mapping[str, frozenset[str]] = field(default_factory=dict)
    vocabulary: str = "SCP"
    of_time: frozenset[str] = frozenset()

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
# AVB for 1AVB, and they leave out records with a code beyond that file. Here those records stay, and codes in
# their headers that mean a label of the file by another name (a PVC, a complete bundle branch block) count as
# that label: else they would be taught as its absence. So figures by MERL's tables are of other records.
_CSN = """\
AQW|164917005|abnormal Q wave
UW|164937009|U wave
SR|426783006|sinus rhythm
WPW|74390002|Wolff-Parkinson-White pattern
2AVB|195042002|second degree AV block
AT|713422000|atrial tachycardia
VB|11157007|ventricular bigeminy
ARS|47665007|axis right shift
STTC|428750005 55930002|ST-T change
SA|427393009|sinus irregularity
STE|164930006|ST extension
VPB|17338001 427172004 164884008|ventricular premature beat
TWO|59931005|T wave opposite (inverted)
STTU|164931005|ST tilt up (elevation)
ALS|39732003|axis left shift
APB|284470004 63593006|atrial premature beats
2AVB1|54016002|second degree AV block, type one
PRIE|164947007|PR interval extension
CCR|251199005|counterclockwise rotation
CR|251198002|clockwise rotation
AF|164890007|atrial flutter
AVB|233917008|atrioventricular block
QTIE|111975006|QT interval extension
LBBB|164909002 733534002|left bundle branch block
VEB|75532003|ventricular escape beat
SVT|426761007|supraventricular tachycardia
RBBB|59118001 713427006|right bundle branch block
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


def _ptbxl_tasks() -> dict[str, Task]:
    rows = [line.split("|") for line in _SCP.strip().splitlines()]
    words = {code: description for code, _, _, _, description in rows}

    def own(name: str, kind: str) -> Task:
        labels = tuple(code for code, kinds, *_ in rows if kind in kinds)
        of_time = frozenset(code for code, kinds, *_ in rows if kinds == "r").intersection(labels)
        return Task(name, labels, {label: words[label] for label in labels}, of_time=of_time)

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


def _snomed_task(name: str, table: str, of_time: str) -> Task:
    rows = [line.split("|") for line in table.strip().splitlines()]
    words = {label: description for label, _, description in rows}
    codes = {label: frozenset(those.split()) for label, those, _ in rows}
    return Task(name, tuple(words), words, codes, "SNOMED", frozenset(of_time.split()))


TASKS: dict[str, Task] = {
    **_ptbxl_tasks(),
    "cpsc2018": _snomed_task("cpsc2018", _CPSC2018, "AF"),  # its "normal sinus rhythm" is a normal ECG
    "csn": _snomed_task("csn", _CSN, "SR 2AVB 2AVB1 AVB AT VB SA AF VEB SVT AFIB ST JEB"),
}


UNTOLD = "untold"  # the vocabulary of a record of which a labels.csv says that nothing is known
REPORT, LUDB = "report", "LUDB"  # of the data sets whose statements no task here is told in
_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}  # Unicode's controls, halves of characters and ends of lines
NO_LABEL = "none"  # the statement, in a label set of one's own, that a record has none of its labels


class TaskError(ValueError):
    """A label set of one's own that cannot be used, in a sentence."""


def own_tasks(told: Any) -> dict[str, Task]:
    """Label sets of one's own, as JSON tells them, by name: {"lvef": {"labels": {"LOW": "below 35 %"}}}.

    `labels` are codes and what they mean; `of_time`, where it is there, a list of those that say when beats
    come, and nothing of their shape.

    Raises
    ------
    TaskError : no such object, a name that is taken, or a code that could not be told from others
    """
    if not isinstance(told, Mapping) or not told:
        raise TaskError(f'expected {{"name": {{"labels": {{"CODE": "what it means"}}}}}}, not {told!r:.60}.')
    return {name: _own_task(name, one) for name, one in told.items()}


def _own_task(name: str, told: Any) -> Task:
    taken = {UNTOLD, REPORT, LUDB, *(task.vocabulary for task in TASKS.values())}
    if name in TASKS or name in map(str.lower, taken):
        raise TaskError(f"{name!r} is the name of a label set of another data set; choose one of its own.")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", name):
        raise TaskError(f"{name!r} is no name; expected lower-case letters, digits and _, a letter first.")
    labels = told.get("labels") if isinstance(told, Mapping) else None
    if not isinstance(labels, Mapping) or not labels:
        raise TaskError(f'{name}: expected {{"labels": {{"CODE": "what it means"}}}}, not {told!r:.60}.')
    for code, words in labels.items():
        if not re.fullmatch(r"[A-Za-z0-9_()<>=+-]{1,30}", code) or code.lower() == NO_LABEL:
            raise TaskError(
                f"{name}: {code!r} is no code of a label; expected letters and digits without blanks, and "
                f"not {NO_LABEL!r}, which says that a record has no label."
            )
        if not isinstance(words, str) or not words.strip() or {*map(category, words)} & _NO_TEXT:
            raise TaskError(f"{name}: {code} has no words; say what it means, in one line.")
    folded = {code.lower() for code in labels}
    if len(folded) < len(labels):
        raise TaskError(
            f"{name}: two of its codes differ in capitals alone; one would be taken for the other."
        )
    of_time = told.get("of_time", [])
    if not isinstance(of_time, list) or not set(map(str, of_time)) <= set(labels):
        raise TaskError(f"{name}: of_time = {of_time!r:.60}; expected a list of some of its codes.")
    if strange := set(told) - {"labels", "of_time"}:
        raise TaskError(f"{name}: {min(strange)!r} is not known; expected labels and of_time.")
    return Task(name, tuple(labels), dict(labels), {}, name, frozenset(of_time))


def told_of(tasks: Iterable[Task]) -> dict[str, Any]:
    """Those of some tasks that are one's own, as `own_tasks` reads them."""
    return {
        task.name: {"labels": dict(task.descriptions), "of_time": sorted(task.of_time)}
        for task in tasks
        if task.name not in TASKS
    }


def alike(one: Task, other: Task) -> bool:
    """Whether two label sets of one name are the same, in whatever order their labels stand."""
    return told_of([one]) == told_of([other])


def vocabulary_of(name: str) -> str:
    """What a task is told in, by its name alone: one's own is its own."""
    return TASKS[name].vocabulary if name in TASKS else name


def targets_of(tasks: Sequence[Task]) -> tuple[str, ...]:
    """(label,) "task/label" of all tasks, in the order of the logits."""
    return tuple(f"{task.name}/{label}" for task in tasks for label in task.labels)


def of_time(tasks: Sequence[Task]) -> list[bool]:
    """(label,) whether each label of all tasks says when beats come, and nothing of their shape."""
    return [label in task.of_time for task in tasks for label in task.labels]


def of_superclass(task: str, *superclasses: str) -> tuple[str, ...]:
    """The labels of one of PTB-XL's label sets that belong to some superdiagnostic classes."""
    of = {code: superclass for code, _, superclass, *_ in (line.split("|") for line in _SCP.splitlines())}
    codes = {code for code, superclass in of.items() if superclass in superclasses}
    asked = TASKS[task]
    return tuple(label for label in asked.labels if asked.statements.get(label, frozenset({label})) & codes)
