# Who receives a message: namespaces, policies, subscriptions, the plans made from them, and their execution.

from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stddef cimport size_t

from broker.core.mapping cimport Mappings
from broker.core.message cimport Message
from broker.core.meter cimport Meter
from broker.core.outbox cimport Hub, Outbox
from broker.core.sublist cimport Entry, Hits, Sublist
from broker.core.transform cimport Transform


cdef enum Verdict:
    ALLOWED = 0
    NOT_ALLOWED = 1     # no allow rule fits: a response grant may still open the subject
    DENIED = 2          # a deny rule fits: nothing opens the subject


cdef enum Fate:
    TAKEN = 0
    NO_ECHO = 1         # the receiver is the sender, and wants no echo
    DENIED_INSIDE = 2   # inside the subscription's pattern the subject is denied
    RECEIVER_CLOSED = 3


cdef enum Outcome:
    PUBLISHED = 0
    SUBJECT_REFUSED = 1
    REPLY_REFUSED = 2


cdef struct Target:
    PyObject *subscription  # borrowed: the plan is stale before the subscription goes
    uint32_t head           # offset of "HMSG <subject> " from the plan's beginning, with the subject that it sees
    uint32_t head_length
    uint32_t sid            # offset of "<sid> "
    uint32_t sid_length
    char sid_start[8]       # its first bytes, for a copy of fixed size: most are no longer


cdef struct Group:
    uint32_t start          # the group's first target
    uint32_t count


cdef struct Plan:
    uint64_t hash
    size_t bytes            # of the whole block
    uint64_t generation     # of the namespace when the plan was made
    uint64_t epoch          # of the subject's hash slot in the namespace, likewise
    PyObject *mapped        # owned: the subject it goes to, or Choices among several; NULL where that is as published
    PyObject *gates         # owned: a tuple of gates, each followed by the subject behind it; NULL for none
    uint32_t slot           # the subject's hash slot
    uint32_t key            # offset of the subject that was published to
    uint32_t key_length
    uint32_t targets        # offset; plain targets first, then group by group
    uint32_t plain_count
    uint32_t target_count
    uint32_t groups         # offset
    uint32_t group_count
    int verdict
    bint final              # mappings were applied already, or do not concern this message
    bint leaves             # it has gates, or is on a subject that requests of other namespaces are answered on


cdef struct Way:
    Way *previous           # the gate that the message went through before; NULL for the first
    PyObject *gate          # borrowed
    int depth


cdef struct Slot:
    uint64_t hash
    Plan *plan


cdef class Client(Outbox)


cdef class Namespace:
    cdef readonly Sublist sublist
    # Both count in 64 bits: a counter that came round would make a plan of long ago look fresh.
    cdef uint64_t generation        # counts changes of wildcard subscriptions
    cdef uint64_t epochs[1024]      # counts changes of literal subscriptions, by the subject's hash
    cdef dict queue_names           # for each name in use: one bytes object, so that names compare by address, and uses
    cdef readonly str name
    cdef readonly Py_ssize_t shadows    # subscriptions of other namespaces among those in the sublist
    cdef Mappings mapped            # None: subjects stay as they are published
    cdef Sublist gates              # services of other namespaces, by the subject here; None for none
    cdef dict answers               # reply subject -> the gate that carries an answer out; None until there is one
    cdef dict awaited               # reply subject -> list of gates that wait for it elsewhere, likewise
    cdef public object interested   # is called at the end of a turn in which subscriptions came; None for nobody
    cdef public bint traces_parents # messages that carry `traceparent` are traced, where that says so
    cdef bint unattended            # stands in the hub's list of namespaces in which interest went away

    cdef int changed(self, Subscription subscription) except -1
    cdef int interest_lost(self, bytes subject) except -1
    cdef int give_up(self, bytes reply) except -1


cdef class Gate(Entry):
    cdef bint asks                  # carries requests, not answers
    cdef Transform inward           # from the subject on this side to the one behind; None where they are the same

    cdef Py_ssize_t carry(self, Client sender, Message *message, bytes subject, Way *way) except -1
    cdef int abandon(self) except -1


cdef class Policy:
    cdef Sublist publish_allow      # None: everything
    cdef Sublist publish_deny
    cdef tuple reply_prefixes
    cdef frozenset reply_literals
    cdef readonly bint responses
    cdef int64_t response_maximum   # negative: unlimited
    cdef double response_seconds    # negative: unlimited

    cdef bint refuses_reply(self, const char *reply, size_t length) except -1
    cdef int judge(self, const char *subject, size_t length) except -1


cdef class PlanCache:
    cdef readonly Namespace namespace
    cdef readonly Policy policy
    cdef bint arrivals              # shadows hear nothing
    cdef Slot *slots                # sets of four
    cdef size_t slot_count
    cdef size_t used
    cdef size_t bytes
    cdef uint64_t *seen             # hashes of subjects met once: the second meeting earns a kept plan
    cdef size_t seen_count
    cdef size_t misses              # since seen grew last
    cdef readonly uint64_t lookups  # plans that were asked for
    cdef readonly uint64_t builds   # those of them that had to be made

    cdef Plan *find(self, const char *subject, size_t length, bint final) except NULL
    cdef Plan *build(self, const char *subject, size_t length, uint64_t hash, bint final) except NULL
    cdef bytes rewrite(self, Plan *plan, const char *subject, size_t length, Hub hub)
    cdef int keep(self, Plan *made) except -1
    cdef int grow(self) except -1
    cdef bint met_before(self, uint64_t hash) except -1
    cdef void drop(self, Slot *slot) noexcept


cdef class Subscription(Entry):
    cdef readonly Client client
    cdef readonly bytes subject
    cdef readonly bytes queue       # None: a plain subscription
    cdef readonly bytes sid
    cdef readonly int64_t delivered
    cdef readonly int64_t maximum   # 0: unlimited
    cdef readonly bint closed       # takes nothing more
    cdef bint crosses               # a Shadow: interest of another namespace
    cdef Sublist denies             # None: nothing inside the pattern is denied
    cdef list shadows               # (namespace, Shadow) pairs: its interest in what others export; None for none


cdef class Shadow(Subscription):
    cdef readonly Subscription origin   # who receives, and counts
    cdef Transform outward          # to the subject that the receiver sees
    cdef bytes seen                 # while a plan is made: that subject
    cdef readonly object link       # what control knows the import by; never looked into


cdef class Grant:
    cdef int64_t remaining          # negative: unlimited
    cdef double expires             # monotonic seconds; negative: never


cdef class Client(Outbox):
    cdef PlanCache plans            # None while the client is bound to no account
    cdef public bint echo
    cdef public bint headers        # takes HMSG
    cdef public bint no_responders
    cdef bint attended              # a delivery has consequences: a grant to open, or a tracer to show it to
    cdef dict grants                # reply subject -> Grant
    cdef size_t grants_to_sweep # size at which expired grants are looked for
    cdef size_t spent               # what its messages of this turn have cost, about in bytes copied
    cdef readonly Outbox congested  # a receiver above its soft ceiling, met while publishing
    cdef readonly int64_t in_messages
    cdef readonly int64_t in_bytes
    cdef readonly int64_t out_messages
    cdef readonly int64_t out_bytes
    cdef bytes rewritten            # keeps the subject alive that the last message was mapped to
    cdef readonly Meter account_meter
    cdef readonly Meter user_meter
    cdef bint metered
    cdef dict introductions         # gate and first gate -> the header line that tells who asks; None until asked
    cdef readonly bytes signature   # header line that tells who sends; None where no account wants it
    cdef bint signing               # is about to: the message has the line already
    cdef bint signs                 # puts it into all that it sends
    cdef bint wants_signed          # takes nothing without it
    cdef Message *signed_from       # what `signed_message` was made of; NULL for nothing
    cdef Message signed_message
    cdef bytes signed_tail
    cdef bint responses             # its policy opens the reply subjects of what it receives
    cdef object recorder            # is told each step of the message that is published now; None for all but traced ones
    cdef const char *shown          # what receivers are shown in place of "HMSG <subject> "; NULL for what it is published on
    cdef size_t shown_length
    cdef bint trace_only            # and that message is delivered to nobody
    cdef object shown_to            # what comes and goes is shown to it; None where nothing is traced

    cdef int publish(self, Message *message) except -1
    cdef Py_ssize_t route(self, PlanCache plans, Message *message, Way *way) except -1
    cdef Plan *redirect(self, PlanCache plans, Plan *plan, Message *message) except? NULL
    cdef Py_ssize_t execute_signed(self, PlanCache plans, Plan *plan, Message *message) except -1
    cdef Py_ssize_t leave(self, PlanCache plans, Plan *plan, Message *message, Way *way) except -1
    cdef Py_ssize_t execute(self, PlanCache plans, Plan *plan, Message *message, Way *way) except -1
    cdef Py_ssize_t execute_recorded(self, PlanCache plans, Message *message, Way *way) except -1
    cdef bint offer(self, Message *message, Plan *plan, Target *target, Subscription matched) except -1
    cdef int record_denied(self, PlanCache plans, Message *message, list matched) except -1
    cdef Message *sign(self, Message *message) except NULL
    cdef bytes introduction(self, Gate gate, Way *way)
    cdef int charge(self, size_t size) except -1
    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1
    cdef int attend(self, Message *message, size_t count) except -1
    cdef int grant(self, Message *message) except -1
    cdef Grant open_grant(self, const char *subject, size_t length)
    cdef int spend(self, Grant opened, const char *subject, size_t length) except -1
    cdef int answer_no_responders(self, Message *message) except -1
    cdef int take_status(self, Subscription subscription, Message *message, bytes line, bytes header) except -1


cdef class Inbox(Client):
    pass
