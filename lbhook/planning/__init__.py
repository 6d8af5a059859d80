"""From an answer to a plan: rendered, compared, checked by the real programs.

Others use `Planner` of planner, `DryRun` of dry_run, `Scope` of scope. A plan is a value; nothing
is changed here.
"""
