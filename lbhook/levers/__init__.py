"""What an operator has decided for this machine, whatever Azure says, a drain or a hold; and what
moves the same levers from Azure.

Others use `Drain` of drain, `Hold` and `in_force` of standstill, `AzuresLevers` of azure. Applies
no rule, and renders nothing.
"""
