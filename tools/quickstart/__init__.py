"""``natskeep quickstart``: a demo operator with two tenants, a development CA, and a broker that serves them.

It stands among the tools because it works on the account tool's store and on the broker; neither knows it.
"""
