"""What the SNOMED CT codes of ECG headers mean, in words.

Source: the codes of the PhysioNet/Computing in Cardiology challenges 2020 and 2021 (dx_mapping_scored.csv and
dx_mapping_unscored.csv), and what else Chapman-Shaoxing-Ningbo's ConditionNames_SNOMED-CT.csv names, in the
words of cardiology.
"""

from __future__ import annotations

_WORDS = """\
164889003 atrial fibrillation
195080001 atrial fibrillation and flutter
282825002 paroxysmal atrial fibrillation
314208002 rapid atrial fibrillation
426749004 chronic atrial fibrillation
164890007 atrial flutter
713422000 atrial tachycardia
106068003 atrial rhythm
251187003 atrial escape beat
233892002 accelerated atrial escape rhythm
251173003 atrial bigeminy
284470004 atrial premature complex
251170000 blocked atrial premature complex
63593006 supraventricular premature beats
251168009 supraventricular bigeminy
426761007 supraventricular tachycardia
67198005 paroxysmal supraventricular tachycardia
251166008 AV nodal reentrant tachycardia
233896004 AV nodal reentrant tachycardia
233897008 AV reentrant tachycardia
195101003 wandering atrial pacemaker
17366009 wandering rhythm from sinus node to atrium
426783006 sinus rhythm
426177001 sinus bradycardia
427084000 sinus tachycardia
427393009 sinus arrhythmia
5609005 sinus arrest
65778007 sinoatrial block
60423000 sinus node dysfunction
74615001 bradycardia-tachycardia syndrome
426627000 bradycardia
698247007 cardiac dysrhythmia
29320008 AV junctional rhythm
426664006 accelerated junctional rhythm
426648003 junctional tachycardia
426995002 junctional escape
251164006 junctional premature complex
427172004 ventricular premature complex
17338001 ventricular premature beats
164884008 ventricular ectopics
251182009 paired ventricular premature complexes
11157007 ventricular bigeminy
251180001 ventricular trigeminy
13640000 fusion beats
75532003 ventricular escape beat
81898007 ventricular escape rhythm
49260003 idioventricular rhythm
61277005 accelerated idioventricular rhythm
164895002 ventricular tachycardia
425856008 paroxysmal ventricular tachycardia
111288001 ventricular flutter
164896001 ventricular fibrillation
10370003 pacing rhythm
251268003 atrial pacing
251266004 ventricular pacing
233917008 AV block
270492004 first degree AV block
195042002 second degree AV block
54016002 Mobitz type I (Wenckebach) AV block
426183003 Mobitz type II AV block
28189009 Mobitz type II AV block
27885002 complete AV block
204384007 congenital incomplete AV block
50799005 AV dissociation
164947007 prolonged PR interval
49578007 short PR interval
195060002 ventricular pre-excitation
74390002 Wolff-Parkinson-White pattern
6374002 bundle branch block
59118001 right bundle branch block
713427006 complete right bundle branch block
713426002 incomplete right bundle branch block
164909002 left bundle branch block
733534002 complete left bundle branch block
251120003 incomplete left bundle branch block
445118002 left anterior fascicular block
445211001 left posterior fascicular block
698252002 non-specific intraventricular conduction disturbance
82226007 diffuse intraventricular block
418818005 Brugada pattern
164951009 abnormal QRS
164942001 fragmented QRS
251146004 low QRS voltages
251147008 low QRS voltages in the limb leads
251148003 low QRS voltages in the chest leads
39732003 left axis deviation
47665007 right axis deviation
251200008 indeterminate axis
251198002 clockwise rotation
251199005 counterclockwise rotation
61721007 clockwise or counterclockwise vectorcardiographic loop
365413008 poor R wave progression
164921003 abnormal R wave
164917005 abnormal Q wave
164912004 P wave change
251205003 prolonged P wave
251223006 tall P wave
253352002 left atrial abnormality
67741000119109 left atrial enlargement
446813000 left atrial hypertrophy
253339007 right atrial abnormality
446358003 right atrial hypertrophy
67751000119106 right atrial high voltage
195126007 atrial hypertrophy
266249003 ventricular hypertrophy
164873001 left ventricular hypertrophy
55827005 left ventricular high voltage
370365005 left ventricular strain
89792004 right ventricular hypertrophy
164865005 myocardial infarction
57054005 acute myocardial infarction
164867002 old myocardial infarction
54329005 anterior myocardial infarction
164861001 myocardial ischemia
413444003 acute myocardial ischemia
413844008 chronic myocardial ischemia
426434006 anterior ischemia
425419005 inferior ischemia
425623009 lateral ischemia
53741008 coronary heart disease
164931005 ST elevation
429622005 ST depression
704997005 inferior ST depression
55930002 ST changes
164930006 abnormal ST interval
428750005 non-specific ST and T changes
428417006 early repolarization
164934002 abnormal T wave
59931005 inverted T wave
251259000 high T wave voltage
164937009 abnormal U wave
111975006 prolonged QT interval
77867006 short QT interval
251139008 arm electrodes suspected to be exchanged
84114007 heart failure
368009 heart valve disorder
266257000 transient ischemic attack
"""

WORDS: dict[str, str] = dict(line.split(" ", 1) for line in _WORDS.splitlines())
"""SNOMED CT code -> what it means."""
