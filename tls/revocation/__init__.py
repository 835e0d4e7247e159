"""Whether certificates are revoked: OCSP (RFC 6960), stapled for the server's own and asked for its peers', and CRLs.

Loaded only where a configuration asks for any of it; the settings alone stand in :mod:`tls.revocation.settings`.
"""
