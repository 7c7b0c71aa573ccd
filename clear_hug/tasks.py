"""Tasks: which labels a checkpoint answers, as their data sets write them.

A statement of PTB-XL counts for a record when it stands among its `scp_codes`, whatever its
likelihood, as in the data set's own benchmark (Strodthoff et al., 2021).
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
    """

    name: str
    labels: tuple[str, ...]
    descriptions: Mapping[str, str]
    statements: Mapping[str, frozenset[str]] = field(default_factory=dict)

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
_CPSC2018 = {
    "SNR": "normal sinus rhythm",
    "AF": "atrial fibrillation",
    "IAVB": "first degree AV block",
    "LBBB": "left bundle branch block",
    "RBBB": "right bundle branch block",
    "PAC": "premature atrial contraction",
    "PVC": "premature ventricular contraction",
    "STD": "ST-segment depression",
    "STE": "ST-segment elevation",
}


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


TASKS: dict[str, Task] = {
    **_ptbxl_tasks(),
    "cpsc2018": Task("cpsc2018", tuple(_CPSC2018), _CPSC2018),
}
