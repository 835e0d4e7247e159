"""Help of nsc that is longer than a line. The last two are shown in the name of nsc only."""

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

FIX_EXAMPLES = """\
nsc fix --in <dir>,<dir2>,<dir3> --out <outdir>
nsc fix --in <dir> --in <dir2> --out <outdir>

If you have user cred files, you can read user JWTs and nkeys from them by\x20
specifying the --creds option:

nsc fix --creds --in <dir> --out <outdir>

If successful, it will place jwts into <outdir>/operators and nkeys into\x20
<outdir>/keys. You can then define the NKEYS_PATH environment, and cd to\x20
the directory:

> export NKEYS_PATH=<outdir>/keys
> cd <outdir>/operators
> nsc list operators

Cases that won't be handled correctly include importing from multiple\x20
directories where user JWTs or cred files have the same user name,\x20
but different user keys issued by the same account. The last issued
cred or user jwt will win.
"""

PROFILE_EXAMPLES = """\
profile nsc://operator
nsc profile nsc://operator/account
nsc profile nsc://operator/account/user
nsc profile nsc://operator/account/user?names&seeds&keys
nsc profile nsc://operator/account/user?operatorSeed&accountSeed&userSeed
nsc profile nsc://operator/account/user?operatorKey&accountKey&userKey
nsc profile nsc://operator?key&seed
nsc profile nsc://operator/account?key&seed
nsc profile nsc://operator/account/user?key&seed&name
nsc profile nsc://operator/account/user?store=/a/.nsc/nats&keystore=/foo/.nkeys

Output of the program looks like:
{
  "user_creds": "<filepath>",
  "operator" : {
     "service": "hostport"
   }
}
The user_creds is printed if an user is specified
Other options (as query string arguments):
keystore=<dir> that specifies the location of the keystore

store=<dir> that specifies a directory that contains the named operator

[user|account|operator]Key - includes the public key for user, account,\x20
operator, If no prefix (user/account/operator is provided, it targets\x20
the last object in the configuration path)

keys - includes the public keys for all entities (same as\x20
userKey&accountKey&operatorKey)

[user|account|operator]Seed=<optional public key> - include the seed for\x20
user, account, operator, if an argument is provided, the seed for the\x20
specified public key is provided - this allows targeting a signing key.
If no prefix (user/account/operator is provided, it targets the last\x20
object in the configuration path)

seeds - includes the private keys for all entities (same as
userSeed&accountSeed&operatorSeed)

[user|account|operator]Name - includes the friendly name for the for\x20
user, account, operator, If no prefix (user/account/operator is provided,\x20
it targets the last object in the configuration path)

names - includes the friendly names for all the entities (same as\x20
userName&accountName&operatorName)
\t\t"""
