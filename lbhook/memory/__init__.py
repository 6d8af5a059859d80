"""What lbhook remembers: records, and the journals that put files back.

Others use `State` of state, `Journal` of journal, `Installed` of records. What fits a record's form
counts; what does not is set aside. Runs no program.
"""
