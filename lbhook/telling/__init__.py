"""What a run tells others: status.json, metrics, history, and a command of the owner's.

Others use `Publisher` of publisher, `History` of history, `Hook` of hooks. Changes nothing that a
target has, and no failure of its own undoes what is in force.
"""
