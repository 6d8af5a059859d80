"""One run of a command that changes something, from its beginning to what it leaves.

Others use `Update` of update (fetch, plan, apply), `Undo` of undo (rollback, clean),
`Restoration` of restoration. Puts the wings below together; has no rule of its own about any
program.
"""
