"""The audit ledger: every security event of a server in a file that nobody can change unseen.

`entry` is the format, `ledger` writes it, `verify` judges it with the public key alone, `recorder` is what the broker
talks to.
"""
