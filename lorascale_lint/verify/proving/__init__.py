"""`check --prove`: a measured number beside a finding.

claims.py (what a rule says is wrong, as questions of the harness) -> proof.py (run, link, judge)
"""
