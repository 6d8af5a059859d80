"""What an operator has decided for this machine, whatever Azure says: a drain, a hold.

Others use `Drain` of drain, `Hold` and `in_force` of standstill. Applies no rule, and renders
nothing.
"""
