"""Codes of headers in words: each once, none lacking of those that labels are told by."""

import re

from clear_hug.snomed import WORDS
from clear_hug.tasks import TASKS
from clear_hug.train.elsewhere import SNOMED


def test_every_code_that_a_label_set_knows_has_words():
    of_tasks = {code for task in TASKS.values() if task.vocabulary == "SNOMED" for codes in
                task.statements.values() for code in codes}  # fmt: skip
    meant = {code for means in SNOMED.values() for code in (*means.any, *means.unclear)}
    assert {*of_tasks, *meant} - WORDS.keys() == set()


def test_a_code_is_a_number_and_stands_once():
    assert all(re.fullmatch(r"\d{6,18}", code) for code in WORDS)
    assert all(words == words.strip() and not re.search(r"\d{3}", words) for words in WORDS.values())
