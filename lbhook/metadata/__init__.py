"""What Azure says about this VM, as frozen types.

Others use `parse`, `Metadata` and `InboundRule` of model, `Facts` and `derive` of facts, `Vm` of
instance. `parse` is the only way in. Knows nothing of files, templates or programs.
"""
