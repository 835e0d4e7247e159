"""What to do about an error, where its words are nsc's and so say only what is wrong.

Errors that know more, such as the names that were meant, carry a remedy of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SHOWN = 8


def one_of(names: Iterable[str], flag: str = "") -> str:
    """The advice to name one of several, such as ``name one: --account A|B``; nothing when there is none."""
    known = list(names)
    if not known:
        return ""
    more = f", or one of {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"name one: {f'{flag} ' if flag else ''}{'|'.join(known[:_SHOWN])}{more}"


def meant(given: str, names: Iterable[str], flag: str = "") -> str:
    """The advice for a name that is not known: those that differ in case only or begin likewise, else all.

    What was meant is never guessed: the person types it.
    """
    known = list(names)
    folded = given.casefold()
    near = [name for name in known if name.casefold() == folded]
    near = near or [name for name in known if folded and name.casefold().startswith(folded)]
    return one_of(near or known, flag)


_TABLE: Final = (
    (
        "nsk list operators; nsk env -o <operator>; or begin with: nsk init <name>",
        ("set an operator", "no operator set", "no store set", "no operator found$", "^operator not found"),
    ),
    (
        "nsk env -a <account>, or name it with --account",
        ("no account set", "^an account is required", "^account is required", r"^reading account \"\""),
    ),
    (
        "nsk env --store <directory of stores>, or begin with: nsk init <name>",
        ("set a stores directory", "not a valid data directory"),
    ),
    (
        "nsk list operators shows what there is; nsk env --store <directory> goes elsewhere",
        (r"operator \".*\" not in", "^operator .*No such", "no operator found with public key"),
    ),
    (
        "look at what would happen, and confirm with the flag",
        ("needs to confirm", "specify the --force", "^something would break"),
    ),
    (
        "nsk pull --all, since the account server is asked over NATS",
        ("can only pull all jwt",),
    ),
    ("name the .creds file that got out, or a copy of it", ("^`.*` does not exist$", "is no credentials file")),
    ("run the nsk that began the rotation, or a newer one", ("understands$",)),
    ("nsk pull --overwrite-newer replaces the local one", ("is newer than remote version",)),
    (
        "ask whoever runs the account server: what it sent is not what was asked for",
        (": not stored$", "error decoding remote token", "unsupported token type"),
    ),
    ("nsk keys migrate sorts the keys into the present layout", ("needs migration",)),
    ("nsk upgrade-jwt, when you have the operator's key", ("only supports jwtV2", "is still of version")),
    (
        "nsk list accounts shows the accounts",
        (
            "not in accounts for operator",
            "no account found with public key",
            r"^account \S+ does not exist",
            "is not under operator",
            "another account",
            "account with public key",
        ),
    ),
    (
        "nsk list users shows the users of the account; name one, and the account with --account",
        (
            r"user \S+ does not exist",
            "user .* not found",
            "no default user",
            "user was not found",
            "^please specify an user",
            "^a user is required",
            "^user is required",
            "^user name is required",
            "nothing of that name",
        ),
    ),
    ("nsk env shows which keystore is used; --keystore-dir names another", ("keystore .* does not exist",)),
    ("add one: nsk add user --account <account> <name>", ("account .* has no users",)),
    ("add one: nsk add account <name>", ("operator .* has no accounts",)),
    (
        "choose another name; nsk list accounts shows those that are taken",
        (
            "^the account .* already exists",
            "^account .* already exists",
            "an account named",
            "^another user is named",
            r"^account \S+ has the name of another",
        ),
    ),
    ("choose another name, or change the user: nsk edit user <name>", ("the user .* already exists",)),
    (
        "choose another name, or another directory with --data-dir",
        ("operator named .* exists already", "operator .* already exists", "an operator named .* exists already"),
    ),
    ("leave --public-key out for a new key, or edit the account that has it", (r"has the key \S+ already",)),
    (
        "remove it, choose another name, or overwrite it with --force where the command has it",
        ("^`.*` already exists",),
    ),
    ("move that file away: it holds another seed than its name says", ("already exists and is different",)),
    ("nsk describe account shows the exports and imports; delete one first", ("already imports", "already exports")),
    (
        "put one of these keys into the keystore (nsk import keys), or name one with -K <seed or file>",
        ("unable to resolve any of the following signing keys",),
    ),
    (
        "put the key into the keystore: nsk import keys --dir <directory>",
        (
            "no private key available",
            "is not in the keystore",
            "no seed was found",
            "find an account key",
            "no system account user",
            "operator keys needed",
            "seed is required",
            "account seed",
        ),
    ),
    (
        "leave -K out, or name a key that the operator or the account lists: nsk list keys --all",
        ("does not sign for", "servers would refuse the activation", "invalid account signer", "wrong signer"),
    ),
    (
        "give a stored public key, a seed or a file with one; nsk list keys --all shows what is stored",
        (
            "-K names",
            "unexpected resolved keytype",
            "a key is required",
            "specified key is not a valid",
            "invalid user key",
            "a signing key is required",
            "signing key is required",
            r"invalid \S+ \S+ key",
            "is not a valid .* key",
            "curve key is required",
            "was not found$",
            "no signing key",
            "parse account name as an nkey",
            "expected account seed",
        ),
    ),
    ("name the key itself instead of the role", ("has several (?:such )?(?:signing )?keys",)),
    (
        "add a signing key (nsk edit operator|account --sk generate), and issue with it",
        (
            "unable to issue users",
            "requires signing keys",
            "at least one signing key",
            "strict operator",
            "needs to be issued with a signing key",
            "only has scoped signing keys",
        ),
    ),
    ("leave permissions and limits out, or sign with another key: -K <key>", ("scoped users require",)),
    (
        "move that file away, and write it anew: nsk import keys, or nsk generate creds",
        ("does not hold the seed", "no creds file", "is no credentials file"),
    ),
    (
        "nsk validate shows what servers object to; change what it names",
        (
            "servers would refuse the JWT",
            "would be refused by servers",
            "validation issues",
            "validation found errors",
            "mapping validation failed",
            "findings could be mended",
        ),
    ),
    ("nsk edit account --disallow-bearer=false allows them, or leave --bearer out", ("bearer",)),
    (
        "have the operator sign it: nsk push and nsk pull, or exchange the file",
        ("is not signed by the operator", "is signed by .* no key of the operator", "who alone can sign"),
    ),
    (
        "nsk edit operator --system-account <account> names it; it has no JetStream",
        ("JetStream limits", "jetstream related settings", "system account is not set", "system account"),
    ),
    (
        "nsk describe account shows the limits; nsk edit account --rm-js-tier <n> or --js-disable takes them away",
        (
            "jetstream (?:tier|global) limit",
            "tier .* already enabled",
            "exclusive of all other js",
            "doesn't have tier",
            "a tier is 0",
        ),
    ),
    ("only an entry for subscribing may name a queue after a blank", ("contains illegal space",)),
    ("write the subject, a blank and the queue", ("at most contain one space",)),
    (
        "write 2027-01-31, or a distance such as 90m, 3h, 2d, 2w, 1M, 1y; 0 is none",
        ("is invalid: ", "couldn't parse expiry", "start/expiry must"),
    ),
    (
        "the command's --help shows what it takes",
        (
            "invalid argument",
            "time: ",
            "unknown .*connection type",
            "is no percentage",
            "sampling rate",
            "is none of",
            "unknown response type",
            "unknown TLS curve",
            "must be (?:at least|more)",
            "cannot be empty",
        ),
    ),
    (
        "use a name of letters, digits, dots, dashes and blanks",
        ("cannot contain '/'", "cannot be the name of a file", "filepath separators", "name is required"),
    ),
    ("name one subject", ("cannot contain wildcards",)),
    (
        "write nsc://operator/account/user?names&keys; the command's --help shows what can be asked for",
        ("invalid nsc url", "cannot be asked for"),
    ),
    (
        "write a path such as nats.limits.conn or nats.exports[0].name; -J shows all of it",
        ("bad path", "error parsing index", "unable to extract", "index is out of bounds"),
    ),
    (
        "check the path, and who may read it",
        (
            "no such file or directory",
            "does not exist - ",
            "is a directory",
            "is not a directory",
            "cannot be read",
            "cannot be written",
            "no JWT of",
            "endings",
            "not a text",
            "unexpected creds filepath",
            "no keys found",
            "no nkey",
            "No such file",
            "onto itself",
            "error processing",
        ),
    ),
    (
        "give the file that holds the JWT, or restore it from a backup",
        (
            "is not a JWT",
            "` line ",
            "does not hold a JWT",
            "larger than",
            "decoding",
            "importing operator",
            "operator JWT cannot be used",
            "unsupported token type",
            "has no JWT",
            "is not a JSON object",
            "Mend it",
            "holds no plan",
            "be used: ",
        ),
    ),
    ("nsk generate creds, or edit the user: that writes them anew", ("creds file", "credentials not found")),
    (
        "check the URL, and that the server runs and can be reached",
        (
            "error (?:loading|pulling|reading)",
            r"Post \"",
            "status",
            "did not answer",
            "does not answer",
            "timed out",
            "cannot be reached",
            "connection",
            "answered what",
            "None of the",
            "unable to (?:push|pull)",
            "nothing was pushed",
            "servers do not tell",
            "no server",
            "the reply is",
            "sent account",
            "already closed",
        ),
    ),
    ("check --ca-cert, --client-cert and --client-key, and that the server offers TLS", ("TLS",)),
    (
        "nsk edit operator --service-url nats://<host>:4222, or --account-jwt-server-url for push and pull",
        ("operator_service_urls", "nats-server url", "server URL", "account server url", "scheme .* is not supported"),
    ),
    (
        "the command's --help shows which flags go together",
        (
            "edit option",
            "please specify some options",
            "specify one of",
            "specify --all",
            "specify only one",
            "exclusive",
            "only works with",
            "not compatible",
            "can only",
            "required flag",
            "accepts",
            "requires at least",
            "nothing of",
            "must be unset",
            "to be unset",
            "is required",
            "in conjunction with",
            "only applicable",
            "only valid",
            "only supported",
            "only services",
        ),
    ),
    (
        "the command's --help shows its flags",
        (
            "^set --",
            "config type option",
            "name (?:a|the|two|one)",
            "say what",
            "a user can publish",
            "only a subscription",
            "unknown (?:flag|shorthand|help topic)",
            "flag needs",
        ),
    ),
    ("nsk --help lists the commands", ("unknown command",)),
    (
        "nsk revocations list-users shows what is revoked",
        ("does not have revoked users", "no user revocations", "not revoked", "no revocations"),
    ),
    (
        "name the user with --user and --account, or its credentials file with --creds",
        (
            "the log has",
            "the store has no user",
            "the configuration has",
            "that a server would use",
            "several accounts are called",
        ),
    ),
    ("nsk describe account shows the exports, imports and mappings", ("export", "import", "subject")),
    ("nsk rotate status lists the rotations", ("rotation", "rotate")),
    ("the lines above say which, and why", ("jobs? failed", "of the jobs succeeded")),
    ("the command's --help shows what there is", ("not have", "there is no")),
    ("ask the exporting account for an activation for this account", ("activation",)),
    ("give the public key, as nsk list keys shows it", ("public key", "names a signing key")),
    ("the command's --help shows what it takes", ("prune only", "type a number", "Write ")),
    ("nobody answers there: nsk tool reply <subject> does, or start the service", ("no responders",)),
    (
        "the user may not do that: nsk explain tells why, and which change would allow it",
        ("[Pp]ermissions [Vv]iolation",),
    ),
    (
        "check that the server trusts the operator, and that the user is neither expired nor revoked: nsk validate",
        ("[Aa]uthori[sz]ation [Vv]iolation", "authentication"),
    ),
    ("check that the path holds what it is to hold", ("^`[^`]*`: ",)),
    ("pip install --upgrade natskeep", ("does not replace itself",)),
)
"""Remedies with the beginnings or fragments of errors, as regular expressions; the first that fits counts."""


def remedy_for(text: str) -> str:
    """The remedy for an error by its text, or nothing."""
    # The patterns are compiled here, since nearly every command does without them.
    return next((remedy for remedy, fragments in _TABLE if re.search("|".join(fragments), text)), "")
