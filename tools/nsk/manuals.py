"""Help of nsc that is longer than a line, for commands whose help nsc made of examples."""

from __future__ import annotations

ADD_USER = """\
# Add user with a previously generated public key:
nsk add user --name <n> --public-key <nkey>
# Note: that unless you specify the seed, the key won't be stored in the keyring.'

# Set permissions so that the user can publish and/or subscribe to the specified subjects or wildcards:
nsk add user --name <n> --allow-pubsub <subject>,...
nsk add user --name <n> --allow-pub <subject>,...
nsk add user --name <n> --allow-sub <subject>,...

# Set permissions so that the user cannot publish nor subscribe to the specified subjects or wildcards:
nsk add user --name <n> --deny-pubsub <subject>,...
nsk add user --name <n> --deny-pub <subject>,...
nsk add user --name <n> --deny-sub <subject>,...

# Set subscribe permissions with queue names (separated from subject by space)
# When added this way, the corresponding remove command needs to be presented with the exact same string
nsk add user --name <n> --deny-sub "<subject> <queue>,..."
nsk add user --name <n> --allow-sub "<subject> <queue>,..."

# To dynamically allow publishing to reply subjects, this works well for service responders:
nsk add user --name <n> --allow-pub-response

# A permission to publish a response can be removed after a duration from when\x20
# the message was received:
nsk add user --name <n> --allow-pub-response --response-ttl 5s

# If the service publishes multiple response messages, you can specify:
nsk add user --name <n> --allow-pub-response=5
# See 'nsk edit export --response-type --help' to enable multiple
# responses between accounts
"""

EDIT_USER = """\
# Edit permissions so that the user can publish and/or subscribe to the specified subjects or wildcards:
nsk edit user --name <n> --allow-pubsub <subject>,...
nsk edit user --name <n> --allow-pub <subject>,...
nsk edit user --name <n> --allow-sub <subject>,...

# Set permissions so that the user cannot publish nor subscribe to the specified subjects or wildcards:
nsk edit user --name <n> --deny-pubsub <subject>,...
nsk edit user --name <n> --deny-pub <subject>,...
nsk edit user --name <n> --deny-sub <subject>,...

# Set subscribe permissions with queue names (separated from subject by space)
# When added this way, the corresponding remove command needs to be presented with the exact same string
nsk edit user --name <n> --deny-sub "<subject> <queue>,..."
nsk edit user --name <n> --allow-sub "<subject> <queue>,..."

# Remove a previously set permissions
nsk edit user --name <n> --rm <subject>,...

# To dynamically allow publishing to reply subjects, this works well for service responders:
nsk edit user --name <n> --allow-pub-response

# A permission to publish a response can be removed after a duration from when
# the message was received:
nsk edit user --name <n> --allow-pub-response --response-ttl 5s

# If the service publishes multiple response messages, you can specify:
nsk edit user --name <n> --allow-pub-response=5
# See 'nsk edit export --response-type --help' to enable multiple
# responses between accounts.

# To remove response settings:
nsk edit user --name <n> --rm-response-perms"""

EDIT_SIGNING_KEY = """\
# Edit permissions associated with the account (n) signing key (sk):
nsk edit signing-key --account <n> --sk <sk> --allow-pubsub <subject>,...
nsk edit signing-key --account <n> --sk <sk> --allow-pub <subject>,...
nsk edit signing-key --account <n> --sk <sk> --allow-sub <subject>,..."""
