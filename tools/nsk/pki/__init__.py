"""A public key infrastructure for development and for small fleets: a CA, the certificates that it issues, its CRL.

Certificates and CRLs follow RFC 5280. What a certificate is for is read off the certificate itself, what is revoked off
the CRL: nothing else is kept that these could contradict.
"""
