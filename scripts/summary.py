#!/usr/bin/env python3
"""Add up a results folder: steps, meson's unit tests and pytest's reports; print one plain line.

The folder holds `steps` (kind, name, status, seconds; written by step.sh), *.meson.json (meson's
testlog.json) and *.xml (pytest's --junit-xml). With several folders their sums are added up.
Exit status 1 when anything failed or nothing ran.
"""
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

CASE_OK = re.compile(r"^\[ +OK +\] ", re.M)
CASE_FAILED = re.compile(r"^\[ +FAILED +\] (\w+)$", re.M)
CASE_SKIPPED = re.compile(r"^\[ +SKIPPED +\] (\w+)$", re.M)


def count_program(entry):
    """(passed, failed, skipped) of one unit test program, from cmocka's lines in its output."""
    text = (entry.get("stdout") or "") + "\n" + (entry.get("stderr") or "")
    passed = len(CASE_OK.findall(text))
    failed = len(set(CASE_FAILED.findall(text)))
    skipped = len(set(CASE_SKIPPED.findall(text)))
    result = entry["result"]
    if result == "SKIP":
        return passed, failed, max(skipped, 1)
    if result not in ("OK", "EXPECTEDFAIL"):
        return passed, max(failed, 1), skipped      # a crash names no failed case
    return (passed, failed, skipped) if passed or skipped else (1, 0, 0)


def count_meson(path):
    """The sums of one testlog.json: a JSON object a line."""
    entries = [json.loads(line) for line in path.read_text(errors="replace").splitlines() if line]
    return [sum(column) for column in zip(*map(count_program, entries))] or [0, 0, 0]


def count_pytest(path):
    """The sums of one JUnit file."""
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))
    except ET.ParseError:
        return [0, 1, 0]
    total = {key: sum(int(s.get(key, 0)) for s in suites)
             for key in ("tests", "failures", "errors", "skipped")}
    failed = total["failures"] + total["errors"]
    return [max(total["tests"] - failed - total["skipped"], 0), failed, total["skipped"]]


def count_folder(folder):
    """The sums of a results folder, and the names of what failed."""
    sums, failed_steps = [0, 0, 0], []
    counts = [count_meson(p) for p in sorted(folder.glob("*.meson.json"))]
    counts += [count_pytest(p) for p in sorted(folder.glob("*.xml"))]
    for count in counts:
        sums = [a + b for a, b in zip(sums, count)]
    steps = folder / "steps"
    if not steps.is_file():
        return [0, 1, 0], [f"{folder}: did not run"]
    broken_suites = 0
    for line in steps.read_text().splitlines():
        kind, name, status, seconds = line.split("\t")
        print(f"{'ok    ' if status == '0' else 'FAILED'} {name} ({seconds} s)")
        if kind == "step":
            sums[0 if status == "0" else 1] += 1
        elif status != "0":
            broken_suites += 1
        if status != "0":
            failed_steps.append(name)
    if broken_suites and not sums[1]:
        sums[1] += broken_suites        # a runner that ended badly without a failed test
    return sums, failed_steps


def main():
    """Add up the folders of the command line."""
    total, failed_steps = [0, 0, 0], []
    for argument in sys.argv[1:]:
        sums, names = count_folder(pathlib.Path(argument))
        total = [a + b for a, b in zip(total, sums)]
        failed_steps += names
    passed, failed, skipped = total
    if failed_steps:
        print("Failed: " + ", ".join(failed_steps))
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
