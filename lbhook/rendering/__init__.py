"""Facts and a template become text; or text is recognised as what it was rendered to before.

Others use `RenderCache` of cache and `renderer` of render. The only place that knows jinja2. Knows
nothing of the network, and writes nothing.
"""
