"""The parts of bench/run.py: processes, contenders, load, measures, report."""
