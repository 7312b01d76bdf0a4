"""The machine in words, the two tables, and the results file. No host names, no paths."""

import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import time

from . import proc

PASS, MISS, ABSENT, NONE = "reached", "MISSED", "NOT MEASURED", "—"


class Report:
    """Collects: rows (measure against target), figures (every contender), notes, troubles."""

    def __init__(self):
        self.rows = []
        self.figures = []
        self.notes = []
        self.troubles = []

    def target(self, measure, value, want, text):
        """`value` None: not measured. `want` = (">=" or "<=", number[, its words]), or None: for
        information. `text` shows the value."""
        mark, words = NONE, NONE
        if want:
            sign = "≥" if want[0] == ">=" else "≤"
            words = f"{sign} {want[2] if len(want) > 2 else f'{want[1]}x'}"
            mark = ABSENT
        if want and value is not None:
            good = value >= want[1] if want[0] == ">=" else value <= want[1]
            mark = PASS if good else MISS
        self.rows.append((measure, words, text, mark))

    def runs(self, what, name, results):
        """The runs of one contender under one condition. Returns (req/s, p50, p99) medians."""
        for r in results:
            if r.bad:
                self.troubles.append(f"{what}, {name}: {r.bad} of {r.answers} answers")
        rate = [r.per_second for r in results]
        p50 = statistics.median(r.p50_ms for r in results)
        p99 = statistics.median(r.p99_ms for r in results)
        bad = sum(sum(r.bad.values()) for r in results)
        mid = statistics.median(rate)
        self.figures.append((what, name, f"{mid:,.0f}", f"{min(rate):,.0f}–{max(rate):,.0f}",
                             f"{p50:.2f}", f"{p99:.2f}", str(bad)))
        return mid, p50, p99

    def missed(self):
        """The rows whose target was not reached, or not measured at all."""
        return [r for r in self.rows if r[3] in (MISS, ABSENT)]

    def text(self, settings):
        parts = ["## Against the targets", "",
                 table(("measure", "must reach", "measured", "verdict"), self.rows), "",
                 "## All figures (medians; min–max over the rounds)", "",
                 table(("measure", "contender", "req/s", "min–max", "p50 ms", "p99 ms",
                        "failed answers"), self.figures), ""]
        if self.notes:
            parts += ["## Notes", "", *(f"- {n}" for n in self.notes), ""]
        if self.troubles:
            parts += ["## Not clean", "", *(f"- {n}" for n in self.troubles), ""]
        return "\n".join(parts + [f"Settings: {settings}", ""])


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, r)) + " |" for r in rows])


def first_line(argv, pattern):
    """The first match of `pattern` in what a program prints about its version."""
    path = shutil.which(argv[0]) or shutil.which(argv[0], path="/usr/sbin:/sbin")
    if not path:
        return "absent"
    done = subprocess.run([path, *argv[1:]], capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "?"


def cpu_model():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def is_virtual():
    with open("/proc/cpuinfo") as f:
        return " hypervisor" in f.read()


def disk_words(folder):
    """File system and the cost of a flush: 4 KiB appended, fdatasync, 200 times."""
    kind = "?"
    best = ""
    with open("/proc/mounts") as f:
        for line in f:
            _, point, fs = line.split()[:3]
            if (folder + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
                best, kind = point, fs
    took = []
    path = os.path.join(folder, "flush.probe")
    fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    try:
        for _ in range(200):
            os.write(fd, b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(fd)
            took.append((time.perf_counter() - begin) * 1e6)
    finally:
        os.close(fd)
        os.unlink(path)
    took.sort()
    return kind, f"{kind}, append 4 KiB + fdatasync {took[100]:.0f} µs (p99 {took[198]:.0f} µs)"


def machine(folder):
    """[(what, words)] for the head of the results file."""
    with open("/proc/meminfo") as f:
        memory_gib = int(f.readline().split()[1]) / 1048576
    os_name = "Linux"
    if os.path.exists("/etc/os-release"):
        with open("/etc/os-release") as f:
            os_name = re.search(r'PRETTY_NAME="?([^"\n]*)', f.read()).group(1)
    kind, disk = disk_words(folder)
    words = [
        ("processor", f"{cpu_model()}, {os.cpu_count()} cores" +
         (", virtual machine" if is_virtual() else "")),
        ("memory", f"{memory_gib:.0f} GiB"),
        ("system", f"{os_name}, kernel {re.match(r'[0-9.]+', platform.release()).group(0)}"),
        ("disk", disk),
        ("load average at start", f"{os.getloadavg()[0]:.2f}"),
        ("versions", ", ".join((
            "node " + first_line(["node", "--version"], r"v?([0-9.]+)"),
            "wrk " + first_line(["wrk", "-v"], r"wrk \D*([0-9.]+)"),
            "nginx " + first_line(["nginx", "-v"], r"nginx/([0-9.]+)"),
            "PostgreSQL " + first_line(["psql", "--version"], r"([0-9.]+)"),
            "SQLite " + first_line(["sqlite3", "--version"], r"([0-9.]+)"),
            peer_versions()))),
    ]
    return kind, words


def peer_versions():
    base = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers")
    found = {}
    for folder in ("fastify-sqlite", "fastify-pg"):
        with open(os.path.join(base, folder, "package.json")) as f:
            found.update(re.findall(r'"(fastify|better-sqlite3|pg)": "([0-9.]+)"', f.read()))
    return ", ".join(f"{k} {v}" for k, v in sorted(found.items()))


def write(report, words, settings, folder, version):
    """Write DATE-HOSTKIND.md; returns its path. A second run of a day gets -2, -3 …"""
    short = re.sub(r"\b(processor|cpu|core|[0-9]+-core|@.*)\b", "", cpu_model().lower())
    slug = re.sub(r"[^a-z0-9]+", "-", short).strip("-")[:30].strip("-")
    kind = f"{os.cpu_count()}-core-{slug}" + ("-vm" if is_virtual() else "")
    date = datetime.date.today().isoformat()
    os.makedirs(folder, exist_ok=True)
    for n in range(1, 100):
        name = f"{date}-{kind}" + (f"-{n}" if n > 1 else "") + ".md"
        if not os.path.exists(os.path.join(folder, name)):
            break
    else:
        raise proc.BenchError("a hundred results for today already")
    head = [f"# Benchmark of {date}", "", f"Tessera: {version}", "", "## Machine", "",
            table(("what", "value"), words), "", ""]
    with open(os.path.join(folder, name), "w") as f:
        f.write("\n".join(head) + report.text(settings))
    return os.path.join(folder, name)
