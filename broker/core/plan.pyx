"""Delivery plans: made once for a subject and a policy, executed for each message.

Every delivery goes through `Client.execute`, which follows a plan; there is no second path. A plan is stale when a
wildcard subscription of its namespace changed (the generation) or a literal one whose subject shares its hash slot
did (the epoch); a stale plan is never followed, so it may hold borrowed references.

What crosses the wall of a namespace is in the plans too: a shadow is a receiver who belongs to another namespace and
sees another subject, and a gate takes the message to the plans of another namespace. A mapping is resolved when the
plan is made, as far as chance has no part in it.
"""

from cython cimport unlikely
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_INCREF, Py_XDECREF, Py_XINCREF
from libc.stdint cimport UINT32_MAX
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset, strlen

import secrets

from broker.core.mapping cimport Choices, Mapping
from broker.core.message cimport edited, reply_of
from broker.core.sublist cimport natskeep_hash, natskeep_set_hash_key

natskeep_set_hash_key(secrets.randbits(64))

cdef uint64_t FINAL = 0x9E3779B97F4A7C15  # sets plans apart that are made after mappings, where there are any
cdef int LONGEST_WAY = 16                 # gates that one message goes through
cdef const char *SIGNATURE = "Natskeep-Sender"

cdef size_t DELIVERY_COST = 64            # what finding one receiver costs, in bytes that could be copied meanwhile
cdef size_t RECORDING_COST = 8192         # what telling a recorder of one receiver costs, likewise
cdef size_t SMALLEST_CACHE = 16
cdef size_t LARGEST_CACHE = 16384         # plans of one policy in one namespace
cdef size_t LARGEST_CACHE_BYTES = 16 << 20
cdef size_t SMALLEST_SEEN = 64
cdef size_t LARGEST_SEEN = 16384
cdef size_t SMALLEST_SWEEP = 256

# Scratch memory of the planner, shared since the core runs in one thread and never re-enters itself.
cdef Hits scratch_hits
scratch_hits.items = NULL
scratch_hits.count = scratch_hits.capacity = 0
cdef Hits scratch_gates
scratch_gates.items = NULL
scratch_gates.count = scratch_gates.capacity = 0
cdef char *scratch_block = NULL
cdef size_t scratch_block_capacity = 0
cdef bint scratch_owns = False            # the plan in the scratch block holds references


cdef extern from "stdlib.h":
    # As in libc.stdlib, but for a comparison that holds the GIL.
    void qsort(void *array, size_t count, size_t size, int (*compare)(const void *, const void *) noexcept)


cdef bint is_wildcard(bytes subject):
    """Whether a token of the pattern is * or a last token is >."""
    cdef list tokens = subject.split(b".")
    return b"*" in tokens or tokens[len(tokens) - 1] == b">"


cdef void free_plan(Plan *plan) noexcept:
    Py_XDECREF(plan.mapped)
    Py_XDECREF(plan.gates)
    free(plan)


cdef class Namespace:
    """The sealed subject space of one account: its subscriptions, its ways out, and what makes plans over them stale."""

    def __cinit__(self, str name not None):
        self.name = name
        self.sublist = Sublist()
        self.generation = 1
        self.queue_names = {}
        self.shadows = 0
        memset(self.epochs, 0, sizeof(self.epochs))

    cdef int changed(self, Subscription subscription) except -1:
        cdef bytes subject = subscription.subject
        if is_wildcard(subject):
            self.generation += 1
        else:
            self.epochs[natskeep_hash(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject)) & 1023] += 1
        return 0

    def insert(self, Subscription subscription not None):
        """Opens the namespace to a subscription: the next message on a matching subject reaches it."""
        cdef list queue
        self.sublist.insert(subscription.subject, subscription)
        self.shadows += subscription.crosses
        if subscription.queue is not None:
            queue = self.queue_names.setdefault(subscription.queue, [subscription.queue, 0])
            subscription.queue = queue[0]
            queue[1] += 1
        self.changed(subscription)
        if unlikely(self.interested is not None):
            subscription.client.hub.deferred.append((self.interested, ()))

    def remove(self, Subscription subscription not None):
        """Takes the subscription out, with its shadows elsewhere; returns whether it was in."""
        cdef list queue
        subscription.closed = True
        subscription.withdraw()
        self.changed(subscription)
        if not self.sublist.remove(subscription.subject, subscription):
            return False
        self.shadows -= subscription.crosses
        if self.awaited is not None and self.awaited:
            if not is_wildcard(subscription.subject):
                self.interest_lost(subscription.subject)
            elif not self.unattended:
                # Each reply subject is looked at once for all wildcards that go in one turn.
                self.unattended = True
                subscription.client.hub.deferred.append((self.look_for_interest, ()))
        if subscription.queue is not None:
            queue = self.queue_names[subscription.queue]
            queue[1] -= 1
            if queue[1] == 0:
                del self.queue_names[subscription.queue]
        return True

    def invalidate(self):
        """Makes every plan stale, as after a change of policy."""
        self.generation += 1

    def open_gates(self, gates):
        """Replaces the ways out: pairs of a pattern and the gate that messages on it go through besides."""
        cdef Sublist made = None
        for subject, gate in gates:
            if not isinstance(gate, Gate):
                raise TypeError("not a gate")
            if made is None:
                made = Sublist()
            made.insert(subject, gate)
        self.gates = made
        self.generation += 1

    def map(self, mappings):
        """Replaces the mappings of published subjects: a `Mappings`, or None."""
        self.mapped = mappings
        self.generation += 1

    cdef int interest_lost(self, bytes subject) except -1:
        """Nobody is told any more what comes for a reply subject, unless another subscription takes it."""
        if subject in self.awaited and not self.sublist.matches(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject)):
            self.give_up(subject)
        return 0

    cdef int give_up(self, bytes reply) except -1:
        cdef list waiting = self.awaited.pop(reply, None)
        cdef Gate gate
        if waiting is not None:
            for gate in waiting:
                gate.abandon()
        return 0

    def look_for_interest(self):
        """Gives up the answers that nobody in this namespace waits for any more."""
        cdef bytes reply
        self.unattended = False
        if self.awaited is not None:
            for reply in list(self.awaited):
                self.interest_lost(reply)

    def close(self):
        """Ends the ways out for good. Nobody may use the namespace after that."""
        global scratch_owns
        self.open_gates(())
        self.map(None)
        self.answers = self.awaited = None
        if scratch_owns:
            # The plan that was made last may still refer to one of the gates.
            scratch_owns = False
            Py_XDECREF((<Plan *> scratch_block).mapped)
            Py_XDECREF((<Plan *> scratch_block).gates)

    @property
    def pending_answers(self):
        """Requests from other namespaces that wait for their answer here."""
        return 0 if self.answers is None else len(self.answers)

    @property
    def queues(self):
        """How many queue names are in use."""
        return len(self.queue_names)

    def __len__(self):
        return len(self.sublist)


cdef Sublist patterns(object subjects):
    if subjects is None:
        return None
    cdef Sublist made = Sublist()
    for subject in subjects:
        made.insert(subject, True)
    return made


cdef class Policy:
    """The compiled form of a policy table's publish side.

    `publish_allow` is None when everything is allowed that is not denied. `responses` is None, or a pair of the number
    of messages (negative: unlimited) and the seconds (negative: unlimited) for which a received reply subject is open.
    """

    def __init__(self, publish_allow, publish_deny, reply_deny, responses=None):
        self.publish_allow = patterns(publish_allow)
        self.publish_deny = patterns(publish_deny)
        self.reply_prefixes = tuple([rule[:len(rule) - 1] for rule in reply_deny if rule.endswith(b".>")])
        self.reply_literals = frozenset([rule for rule in reply_deny if not rule.endswith(b".>")])
        self.responses = responses is not None
        if responses is not None:
            self.response_maximum, self.response_seconds = responses

    cdef int judge(self, const char *subject, size_t length) except -1:
        if self.publish_deny.size and self.publish_deny.matches(subject, length):
            return DENIED
        if self.publish_allow is not None and not self.publish_allow.matches(subject, length):
            return NOT_ALLOWED
        return ALLOWED

    cdef bint refuses_reply(self, const char *reply, size_t length) except -1:
        """Reserved reply subjects are compared as text, so that no odd spelling with empty tokens slips by."""
        cdef bytes prefix
        cdef size_t count
        for prefix in self.reply_prefixes:
            count = PyBytes_GET_SIZE(prefix)
            if length > count and memcmp(reply, PyBytes_AS_STRING(prefix), count) == 0:
                return True
        return len(self.reply_literals) > 0 and PyBytes_FromStringAndSize(reply, length) in self.reply_literals

    def allows_publish(self, bytes subject not None):
        """Whether the tables let a message out on the subject, response grants aside."""
        return self.judge(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject)) == ALLOWED

    def allows_reply(self, bytes reply not None):
        """Whether the tables let a message carry the reply subject."""
        return not self.refuses_reply(PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply))


cdef int by_queue(const void *one, const void *other) noexcept:
    """Orders subscriptions by the address of their queue's name, so that the members of a group stand together."""
    cdef size_t left = <size_t> <void *> (<Subscription> (<PyObject **> one)[0]).queue
    cdef size_t right = <size_t> <void *> (<Subscription> (<PyObject **> other)[0]).queue
    return (left > right) - (left < right)


cdef class Gate(Entry):
    """A way out of a namespace. What lies behind it is a matter of its subclasses."""

    def __init__(self, Transform inward=None):
        self.inward = inward

    cdef Py_ssize_t carry(self, Client sender, Message *message, bytes subject, Way *way) except -1:
        """Takes a message to the other side, where its subject is `subject`; returns how many received it."""
        return 0

    cdef int abandon(self) except -1:
        """Nobody waits any more for what comes through the gate."""
        return 0


cdef inline char *put_head(char *at, const char *subject, size_t length) noexcept:
    memcpy(at, b"HMSG ", 5)
    memcpy(at + 5, subject, length)
    at[5 + length] = b" "
    return at + 6 + length


cdef class PlanCache:
    """The plans of one policy in one namespace; all clients of one role share it.

    With `arrivals` they are for what comes through gates, which belongs to who sent it and goes on to no other namespace as
    a stream.
    """

    def __cinit__(self, Namespace namespace not None, Policy policy not None, bint arrivals=False):
        self.namespace = namespace
        self.policy = policy
        self.arrivals = arrivals
        # A role that only receives needs neither table, so both wait for the first message.
        self.slots = NULL
        self.seen = NULL
        self.slot_count = self.seen_count = self.used = self.bytes = self.misses = 0

    def __dealloc__(self):
        cdef size_t index
        if self.slots != NULL:
            for index in range(self.slot_count):
                if self.slots[index].plan != NULL:
                    free_plan(self.slots[index].plan)
            free(self.slots)
        free(self.seen)

    cdef Plan *find(self, const char *subject, size_t length, bint final) except NULL:
        """The plan for a subject: kept, or made now. Valid until the next call.

        `final` is for subjects that mappings do not concern, since they are what mappings made of another.
        """
        cdef uint64_t hash = natskeep_hash(subject, length)
        self.lookups += 1
        if self.namespace.mapped is None:
            final = True
        elif final:
            hash ^= FINAL
        if self.slots == NULL:
            self.grow()
        cdef Slot *slot = self.slots + (<size_t> hash & (self.slot_count - 1) & ~(<size_t> 3))
        cdef int way
        cdef Plan *plan
        cdef Namespace namespace = self.namespace
        for way in range(4):
            if slot[way].hash == hash and slot[way].plan != NULL:
                plan = slot[way].plan
                if (plan.key_length == length and plan.final == final
                        and memcmp(<char *> plan + plan.key, subject, length) == 0):
                    if plan.generation == namespace.generation and plan.epoch == namespace.epochs[plan.slot]:
                        return plan
                    self.drop(&slot[way])
                    plan = self.build(subject, length, hash, final)
                    self.keep(plan)
                    return plan
        plan = self.build(subject, length, hash, final)
        if self.met_before(hash):
            self.keep(plan)
        return plan

    cdef bint met_before(self, uint64_t hash) except -1:
        """Whether the subject was met a short while ago; remembers it. The memory grows with the variety of subjects."""
        cdef size_t count
        if self.seen_count == 0 or self.misses > 2 * self.seen_count and self.seen_count < LARGEST_SEEN:
            count = SMALLEST_SEEN if self.seen_count == 0 else self.seen_count * 4
            free(self.seen)
            self.seen_count = 0
            self.seen = <uint64_t *> calloc(count, sizeof(uint64_t))
            if self.seen == NULL:
                raise MemoryError()
            self.seen_count = count
            self.misses = 0
        if self.seen[hash & (self.seen_count - 1)] == hash:
            return True
        self.seen[hash & (self.seen_count - 1)] = hash
        self.misses += 1
        return False

    cdef void drop(self, Slot *slot) noexcept:
        self.bytes -= slot.plan.bytes
        self.used -= 1
        free_plan(slot.plan)
        slot.plan = NULL

    cdef int grow(self) except -1:
        cdef size_t count = self.slot_count * 4 if self.slot_count else SMALLEST_CACHE, index
        cdef Slot *larger = <Slot *> calloc(count, sizeof(Slot))
        cdef Slot *slot
        cdef int way
        if larger == NULL:
            raise MemoryError()
        for index in range(self.slot_count):
            if self.slots[index].plan == NULL:
                continue
            slot = larger + (<size_t> self.slots[index].hash & (count - 1) & ~(<size_t> 3))
            for way in range(4):
                if slot[way].plan == NULL:
                    slot[way] = self.slots[index]
                    break
            else:
                self.drop(&self.slots[index])
        free(self.slots)
        self.slots = larger
        self.slot_count = count
        return 0

    cdef int keep(self, Plan *made) except -1:
        """Copies a plan out of the scratch memory into the cache."""
        cdef Plan *plan
        cdef Slot *slot
        cdef int way
        cdef size_t index
        if made.bytes > LARGEST_CACHE_BYTES // 4:
            return 0
        if self.bytes + made.bytes > LARGEST_CACHE_BYTES:
            for index in range(self.slot_count):
                if self.slots[index].plan != NULL:
                    self.drop(&self.slots[index])
        if self.used * 2 >= self.slot_count and self.slot_count < LARGEST_CACHE:
            self.grow()
        plan = <Plan *> malloc(made.bytes)
        if plan == NULL:
            raise MemoryError()
        memcpy(plan, made, made.bytes)
        Py_XINCREF(plan.mapped)
        Py_XINCREF(plan.gates)
        slot = self.slots + (<size_t> plan.hash & (self.slot_count - 1) & ~(<size_t> 3))
        for way in range(4):
            if slot[way].plan == NULL:
                break
        else:
            way = <int> ((plan.hash >> 32) & 3)
            self.drop(&slot[way])
        slot[way].hash = plan.hash
        slot[way].plan = plan
        self.used += 1
        self.bytes += plan.bytes
        return 0

    cdef bytes rewrite(self, Plan *plan, const char *subject, size_t length, Hub hub):
        """The subject that a mapped message goes to, or None when it is dropped."""
        cdef object mapped = <object> plan.mapped
        if isinstance(mapped, Choices):
            return (<Choices> mapped).choose(subject, length, hub)
        return <bytes> mapped

    cdef Plan *build(self, const char *subject, size_t length, uint64_t hash, bint final) except NULL:
        """Maps the subject, matches it, applies the deny filters and lays out a plan in the scratch memory."""
        global scratch_block, scratch_block_capacity, scratch_owns
        cdef Namespace namespace = self.namespace
        cdef size_t kept = 0, plain = 0, index, text = 0, wanted, head, width, group_count = 0
        cdef const char *key = subject
        cdef size_t key_length = length
        cdef Subscription subscription
        cdef Mapping mapping
        cdef Gate gate
        cdef object mapped = None
        cdef list gates = None
        cdef tuple doors
        cdef bytes local, shared = None
        cdef uint32_t shared_head = 0
        cdef PyObject *item
        cdef PyObject **items
        cdef Plan *plan
        cdef Target *targets
        cdef Group *groups
        cdef char *at
        cdef char *larger
        cdef int verdict = ALLOWED
        self.builds += 1
        if scratch_owns:
            scratch_owns = False
            Py_XDECREF((<Plan *> scratch_block).mapped)
            Py_XDECREF((<Plan *> scratch_block).gates)
        if not final:
            mapping = namespace.mapped.find(subject, length)
            if mapping is not None:
                mapped = mapping.resolve(subject, length)
                if isinstance(mapped, bytes):
                    subject = PyBytes_AS_STRING(<bytes> mapped)
                    length = PyBytes_GET_SIZE(<bytes> mapped)
        scratch_hits.count = 0
        if not isinstance(mapped, Choices):
            verdict = self.policy.judge(subject, length)
            if verdict != DENIED:
                namespace.sublist.collect(subject, length, &scratch_hits)
                if namespace.gates is not None and not (length > 4 and memcmp(subject, b"_R_.", 4) == 0):
                    scratch_gates.count = 0
                    namespace.gates.collect(subject, length, &scratch_gates)
                    for index in range(scratch_gates.count):
                        gate = <Gate> scratch_gates.items[index]
                        local = (PyBytes_FromStringAndSize(subject, length) if gate.inward is None
                                 else gate.inward.apply(subject, length, None))
                        if local is not None:
                            if gates is None:
                                gates = []
                            gates.append(gate)
                            gates.append(local)
        items = scratch_hits.items
        # Plain subscriptions move to the front, what is denied drops out.
        for index in range(scratch_hits.count):
            subscription = <Subscription> items[index]
            if subscription.crosses:
                if self.arrivals or subscription.denies is not None and subscription.denies.matches(subject, length):
                    continue
                local = (<Shadow> subscription).outward.apply(subject, length, None)
                if local is None or (<Shadow> subscription).origin.denies is not None and (
                        <Shadow> subscription).origin.denies.matches(PyBytes_AS_STRING(local), PyBytes_GET_SIZE(local)):
                    continue
                (<Shadow> subscription).seen = local
                text += PyBytes_GET_SIZE(local) + 6
            elif subscription.denies is not None and subscription.denies.matches(subject, length):
                continue
            item = items[index]
            items[index] = items[kept]
            items[kept] = item
            if subscription.queue is None:
                items[kept] = items[plain]
                items[plain] = item
                plain += 1
            kept += 1
            text += PyBytes_GET_SIZE(subscription.sid)
        wanted = (sizeof(Plan) + kept * sizeof(Target) + (kept - plain) * sizeof(Group)
                  + length + 6 + text + kept + key_length)
        if wanted > UINT32_MAX:
            raise MemoryError("a plan has no room for so many receivers")
        if wanted > scratch_block_capacity:
            larger = <char *> realloc(scratch_block, wanted * 2)
            if larger == NULL:
                raise MemoryError()
            scratch_block = larger
            scratch_block_capacity = wanted * 2
        plan = <Plan *> scratch_block
        targets = <Target *> (scratch_block + sizeof(Plan))
        groups = <Group *> (targets + kept)
        if kept > plain:
            qsort(items + plain, kept - plain, sizeof(PyObject *), by_queue)
        for index in range(plain, kept):
            if index == plain or (<Subscription> items[index]).queue is not (<Subscription> items[index - 1]).queue:
                groups[group_count].start = <uint32_t> index
                groups[group_count].count = 0
                group_count += 1
            groups[group_count - 1].count += 1
        at = <char *> (groups + group_count)
        head = at - scratch_block
        at = put_head(at, subject, length)
        for index in range(kept):
            subscription = <Subscription> items[index]
            targets[index].subscription = items[index]
            targets[index].head = <uint32_t> head
            targets[index].head_length = <uint32_t> (length + 6)
            if subscription.crosses:
                local = (<Shadow> subscription).seen
                (<Shadow> subscription).seen = None
                targets[index].subscription = <PyObject *> (<Shadow> subscription).origin
                targets[index].head_length = <uint32_t> (PyBytes_GET_SIZE(local) + 6)
                # Many accounts import alike, and what many see alike is kept once.
                if shared is not None and shared == local:
                    targets[index].head = shared_head
                else:
                    shared = local
                    targets[index].head = shared_head = <uint32_t> (at - scratch_block)
                    at = put_head(at, PyBytes_AS_STRING(local), PyBytes_GET_SIZE(local))
            width = PyBytes_GET_SIZE(subscription.sid)
            targets[index].sid = <uint32_t> (at - scratch_block)
            targets[index].sid_length = <uint32_t> (width + 1)
            memcpy(at, PyBytes_AS_STRING(subscription.sid), width)
            at[width] = b" "
            memcpy(targets[index].sid_start, at, min(width + 1, 8))
            at += width + 1
        plan.key = <uint32_t> (head + 5)
        plan.key_length = <uint32_t> key_length
        if key != subject:
            plan.key = <uint32_t> (at - scratch_block)
            memcpy(at, key, key_length)
            at += key_length
        plan.hash = hash
        plan.bytes = at - scratch_block
        plan.final = final
        plan.slot = <uint32_t> (natskeep_hash(subject, length) & 1023)
        plan.generation = namespace.generation
        plan.epoch = namespace.epochs[plan.slot]
        plan.targets = sizeof(Plan)
        plan.plain_count = <uint32_t> plain
        plan.target_count = <uint32_t> kept
        plan.groups = <uint32_t> (<char *> groups - scratch_block)
        plan.group_count = <uint32_t> group_count
        plan.verdict = verdict
        plan.leaves = gates is not None or (length > 4 and memcmp(subject, b"_R_.", 4) == 0)
        plan.mapped = NULL
        plan.gates = NULL
        if mapped is not None:
            Py_INCREF(mapped)
            plan.mapped = <PyObject *> mapped
            scratch_owns = True
        if gates is not None:
            doors = tuple(gates)
            Py_INCREF(doors)
            plan.gates = <PyObject *> doors
            scratch_owns = True
        return plan

    @property
    def kept(self):
        """How many plans are kept."""
        return self.used

    def clear(self):
        """Forgets all plans. What they refer to is not seen by Python's search for cycles, so it is let go by hand."""
        cdef size_t index
        for index in range(self.slot_count):
            if self.slots[index].plan != NULL:
                self.drop(&self.slots[index])

    def fanout(self):
        """The receivers of the widest plan that is kept, and of all of them together."""
        cdef size_t index, widest = 0, total = 0
        for index in range(self.slot_count):
            if self.slots[index].plan != NULL:
                widest = max(widest, self.slots[index].plan.target_count)
                total += self.slots[index].plan.target_count
        return widest, total


cdef class Subscription(Entry):
    """One client's interest in a pattern.

    `denies` are the patterns inside the subscription's own that its owner may not receive.
    """

    def __init__(self, Client client not None, bytes subject not None, bytes queue, bytes sid not None, denies=()):
        self.client = client
        self.subject = subject
        self.queue = queue
        self.sid = sid
        self.denies = patterns(denies) if denies else None

    def limit(self, int64_t maximum):
        """Ends the subscription after `maximum` deliveries in all, counted from its beginning.

        Returns whether it ends at once because so many were delivered already, or because maximum is 0 or less.
        """
        if maximum <= 0 or self.delivered >= maximum:
            self.closed = True
            return True
        self.maximum = maximum
        return False

    def refilter(self, denies):
        """Replaces `denies`. Plans made before do not know of it: their namespace must be invalidated."""
        cdef Namespace namespace
        self.denies = patterns(denies) if denies else None
        for namespace, _ in self.shadows or ():
            namespace.generation += 1

    def shadow(self, Namespace namespace not None, bytes subject not None, Transform outward not None, link=None,
               denies=()):
        """Receives in addition what is published on a pattern of another namespace.

        `outward` is the transform from there to here; what it makes of the pattern must lie in this subscription's own.
        `link` is for whoever asks for the shadow. `denies` are patterns there that never leave that namespace.
        """
        cdef Shadow made = Shadow(self, subject, outward, link, denies)
        namespace.insert(made)
        if self.shadows is None:
            self.shadows = []
        self.shadows.append((namespace, made))

    def withdraw(self):
        """Ends its interest in other namespaces."""
        cdef Namespace namespace
        cdef list shadows = self.shadows
        if shadows is not None:
            self.shadows = None
            for namespace, made in shadows:
                namespace.remove(made)

    def close(self):
        """Takes nothing more, from the next message on."""
        self.closed = True


cdef class Shadow(Subscription):
    """A subscription's interest in another namespace. Who receives, and what counts, is the subscription itself."""

    def __init__(self, Subscription origin not None, bytes subject not None, Transform outward not None, link=None,
                 denies=()):
        Subscription.__init__(self, origin.client, subject, origin.queue, origin.sid, denies)
        self.crosses = True
        self.origin = origin
        self.outward = outward
        self.link = link


cdef class Grant:
    """A reply subject that a received message has opened for a while."""


cdef class Client(Outbox):
    """A connection as the message path sees it: an outbox, a binding to plans, and flags.

    Whoever sets `tracer` is shown each message that comes from the client and goes to it; its methods must neither
    publish nor raise.
    """

    def __cinit__(self, Hub hub not None, *arguments, **keywords):
        self.echo = True
        self.grants_to_sweep = SMALLEST_SWEEP

    def bind(self, PlanCache plans):
        """Binds the client to a namespace and a policy; response grants of an earlier binding are gone."""
        self.plans = plans
        self.grants = self.introductions = None
        self.responses = plans is not None and plans.policy.responses
        self.attended = self.responses or self.shown_to is not None

    @property
    def tracer(self):
        """Whom messages are shown to; None for nobody."""
        return self.shown_to

    @tracer.setter
    def tracer(self, tracer):
        self.shown_to = tracer
        self.attended = self.responses or tracer is not None

    @property
    def bound(self):
        return self.plans is not None

    def take_congested(self):
        """The receiver above its soft ceiling that the last messages met, or None."""
        congested = self.congested
        self.congested = None
        return congested

    def send(self, bytes subject not None, bytes reply, bytes header, bytes payload not None):
        """Publishes one message in this client's name; returns an outcome: 0 published, 1 and 2 refused."""
        cdef bytes body = (header or b"") + payload
        cdef bytes sizes = b"%d\r\n" % len(body) if header is None else b"%d %d\r\n" % (len(header), len(body))
        cdef bytes tail = (reply + b" " if reply else b"") + sizes + body + b"\r\n"
        cdef Message message
        message.subject = PyBytes_AS_STRING(subject)
        message.subject_length = PyBytes_GET_SIZE(subject)
        message.reply = NULL if not reply else PyBytes_AS_STRING(reply)
        message.reply_length = len(reply) if reply else 0
        message.tail = PyBytes_AS_STRING(tail)
        message.tail_length = PyBytes_GET_SIZE(tail)
        message.body = PyBytes_AS_STRING(body)
        message.size = PyBytes_GET_SIZE(body)
        message.header = -1 if header is None else len(header)
        return self.publish(&message)

    cdef int publish(self, Message *message) except -1:
        """Follows the plan for the message's subject; an Outcome. A mapping changes the message's subject."""
        cdef PlanCache plans = self.plans
        cdef Plan *plan
        cdef Py_ssize_t delivered
        cdef Grant opened = None
        if plans is None:
            return SUBJECT_REFUSED
        self.in_messages += 1
        self.in_bytes += message.size
        if unlikely(self.metered):
            self.charge(message.size)
        plan = plans.find(message.subject, message.subject_length, False)
        if unlikely(plan.mapped != NULL):
            plan = self.redirect(plans, plan, message)
            if plan == NULL:
                message.subject_length = 0
            if self.recorder is not None:
                self.recorder.mapped(PyBytes_FromStringAndSize(message.subject, message.subject_length))
            if plan == NULL:
                if message.reply_length and self.no_responders:
                    self.answer_no_responders(message)
                return PUBLISHED
        if plan.verdict != ALLOWED:
            if plan.verdict == NOT_ALLOWED:
                opened = self.open_grant(message.subject, message.subject_length)
            if opened is None:
                return SUBJECT_REFUSED
        if message.reply_length and plans.policy.refuses_reply(message.reply, message.reply_length):
            return REPLY_REFUSED
        if opened is not None and not self.trace_only:
            self.spend(opened, message.subject, message.subject_length)
        delivered = self.execute(plans, plan, message, NULL)
        if delivered == 0 and message.reply_length and self.no_responders:
            self.answer_no_responders(message)
        return PUBLISHED

    cdef Plan *redirect(self, PlanCache plans, Plan *plan, Message *message) except? NULL:
        """Gives a mapped message its subject, which is kept alive until the next one is mapped; NULL when it is dropped."""
        cdef bint chosen = isinstance(<object> plan.mapped, Choices)
        self.rewritten = plans.rewrite(plan, message.subject, message.subject_length, self.hub)
        if self.rewritten is None:
            return NULL
        message.subject = PyBytes_AS_STRING(self.rewritten)
        message.subject_length = PyBytes_GET_SIZE(self.rewritten)
        return plans.find(message.subject, message.subject_length, True) if chosen else plan

    cdef Py_ssize_t route(self, PlanCache plans, Message *message, Way *way) except -1:
        """Publishes in another namespace what came through a gate; returns how many received it."""
        cdef Plan *plan = plans.find(message.subject, message.subject_length, False)
        cdef bytes before = self.rewritten
        cdef Py_ssize_t delivered
        if plan.mapped != NULL:
            plan = self.redirect(plans, plan, message)
            if self.recorder is not None:
                self.recorder.mapped(
                    b"" if plan == NULL else PyBytes_FromStringAndSize(message.subject, message.subject_length))
        delivered = 0 if plan == NULL or plan.verdict != ALLOWED else self.execute(plans, plan, message, way)
        # The message on this side of the gate may still be on the subject that it was mapped to.
        self.rewritten = before
        return delivered

    cdef Py_ssize_t execute(self, PlanCache plans, Plan *plan, Message *message, Way *way) except -1:
        """Delivers to all receivers of a plan, and goes through its gates; returns how many received the message."""
        cdef Target *targets = <Target *> (<char *> plan + plan.targets)
        cdef Group *group
        cdef uint32_t index, member, turn
        cdef Py_ssize_t delivered = 0
        self.signed_from = NULL
        # What went through a gate is signed already.
        if unlikely(self.signs and way == NULL and not self.signing):
            return self.execute_signed(plans, plan, message)
        if unlikely(self.recorder is not None):
            return self.execute_recorded(plans, message, way)
        self.spent += (<size_t> plan.plain_count + plan.group_count) * (message.tail_length + DELIVERY_COST)
        for index in range(plan.plain_count):
            delivered += (<Subscription> targets[index].subscription).client.deliver(
                self, message, plan, &targets[index])
        for index in range(plan.group_count):
            group = <Group *> (<char *> plan + plan.groups) + index
            member = 0 if group.count == 1 else <uint32_t> (self.hub.random() % group.count)
            for turn in range(group.count):
                if (<Subscription> targets[group.start + member].subscription).client.deliver(
                        self, message, plan, &targets[group.start + member]):
                    delivered += 1
                    break
                member = 0 if member + 1 == group.count else member + 1
        if unlikely(plan.leaves):
            delivered += self.leave(plans, plan, message, way)
        return delivered

    cdef Py_ssize_t execute_recorded(self, PlanCache plans, Message *message, Way *way) except -1:
        """As `execute`, while the recorder is told each step; returns how many received the message, or would have.

        The plan is made anew: then what was matched stands in the planner's memory in the order of the targets, shadows
        as themselves, and behind them what was denied.
        """
        cdef Plan *plan = plans.build(message.subject, message.subject_length, 0, True)
        cdef Target *targets = <Target *> (<char *> plan + plan.targets)
        cdef Group *group
        cdef list matched = []
        cdef uint32_t index, member, turn
        cdef Py_ssize_t delivered = 0
        for index in range(scratch_hits.count):
            matched.append(<Subscription> scratch_hits.items[index])
        self.spent += len(matched) * (message.tail_length + DELIVERY_COST + RECORDING_COST)
        self.record_denied(plans, message, matched[plan.target_count:])
        for index in range(plan.plain_count):
            delivered += self.offer(message, plan, &targets[index], <Subscription> matched[index])
        for index in range(plan.group_count):
            group = <Group *> (<char *> plan + plan.groups) + index
            member = 0 if group.count == 1 else <uint32_t> (self.hub.random() % group.count)
            for turn in range(group.count):
                if self.offer(message, plan, &targets[group.start + member],
                              <Subscription> matched[group.start + member]):
                    delivered += 1
                    break
                member = 0 if member + 1 == group.count else member + 1
        if plan.leaves:
            delivered += self.leave(plans, plan, message, way)
        return delivered

    cdef bint offer(self, Message *message, Plan *plan, Target *target, Subscription matched) except -1:
        """Delivers to one receiver, where it is no trace alone; the recorder is told what came of it, or would have.

        Returns whether it received the message, or would have. `matched` is what stands behind the target.
        """
        cdef Subscription subscription = <Subscription> target.subscription
        cdef Client receiver = subscription.client
        cdef bint told = True
        cdef int fate = TAKEN
        if subscription.closed:
            # It has had its last message, and is still in the plan until the turn ends.
            return False
        if matched.crosses:
            told = self.recorder.streamed(
                matched, PyBytes_FromStringAndSize(<char *> plan + target.head + 5, target.head_length - 6))
        if receiver is self and not self.echo:
            fate = NO_ECHO
        elif receiver.closed:
            fate = RECEIVER_CLOSED
        elif not self.trace_only and not receiver.deliver(self, message, plan, target):
            fate = RECEIVER_CLOSED
        if told:
            self.recorder.offered(matched, fate)
        return fate == TAKEN

    cdef int record_denied(self, PlanCache plans, Message *message, list matched) except -1:
        """Tells the recorder of subscriptions that match and may not have the message."""
        cdef Subscription subscription
        cdef bytes local
        for subscription in matched:
            if not subscription.crosses:
                if not subscription.closed:
                    self.recorder.offered(subscription, DENIED_INSIDE)
            elif not plans.arrivals and subscription.denies is None and not (<Shadow> subscription).origin.closed:
                local = (<Shadow> subscription).outward.apply(message.subject, message.subject_length, None)
                if local is not None and self.recorder.streamed(subscription, local):
                    self.recorder.offered(subscription, DENIED_INSIDE)
        return 0

    cdef Py_ssize_t execute_signed(self, PlanCache plans, Plan *plan, Message *message) except -1:
        """Delivers a message with the line that tells who sends it."""
        cdef Message own
        cdef bytes tail = edited(message, &own, reply_of(message), SIGNATURE, self.signature, True)
        self.signing = True
        try:
            return self.execute(plans, plan, &own, NULL)
        finally:
            self.signing = False

    cdef Py_ssize_t leave(self, PlanCache plans, Plan *plan, Message *message, Way *way) except -1:
        """Goes through the gates of a plan. Other plans are looked up behind them, so this one may be gone afterwards."""
        cdef Py_ssize_t delivered = 0, place
        cdef tuple gates
        cdef Gate gate
        if way != NULL and way.depth >= LONGEST_WAY:
            return 0
        if plan.gates == NULL:
            if plans.namespace.answers is None:
                return 0
            gate = plans.namespace.answers.get(PyBytes_FromStringAndSize(message.subject, message.subject_length))
            return 0 if gate is None else gate.carry(self, message, None, way)
        gates = <tuple> plan.gates
        for place in range(0, len(gates), 2):
            gate = <Gate> gates[place]
            delivered += gate.carry(self, message, <bytes> gates[place + 1], way)
            self.spent += message.tail_length + DELIVERY_COST
        return delivered

    cdef int charge(self, size_t size) except -1:
        """Counts a message against the rates of the user and of the account; what is too much ends the turn."""
        cdef double now = self.hub.now
        cdef bint over = False
        if self.account_meter is not None:
            over = self.account_meter.charge(size, now)
        if self.user_meter is not None and self.user_meter.charge(size, now):
            over = True
        if over:
            self.spent = <size_t> 1 << 62
        return 0

    def meter(self, Meter account, Meter user):
        """Counts what the client sends against these meters; None counts nothing."""
        self.account_meter = account
        self.user_meter = user
        self.metered = account is not None or user is not None

    @property
    def owed(self):
        """Seconds that the client has to wait because it sent more than its rates allow; 0 when it need not."""
        cdef double seconds = 0
        if self.account_meter is not None:
            seconds = self.account_meter.owed(self.hub.now)
        if self.user_meter is not None:
            seconds = max(seconds, self.user_meter.owed(self.hub.now))
        return seconds

    def introduce(self, bytes signature, bint always, bint wanted):
        """Tells who the client is: `signature` is a header line with its line end.

        It stands in all messages that the client sends where `always`, and else in those that go to receivers who want
        it. Where `wanted`, this client is one of those receivers.
        """
        self.signature = signature
        self.signs = always and signature is not None
        self.wants_signed = wanted
        self.signed_from = NULL

    def forget_introductions(self):
        """Asks anew what other namespaces are told about the client."""
        self.introductions = None

    cdef bytes introduction(self, Gate gate, Way *way):
        """The header line that tells the far side of a gate who asks. The owner knows; it is asked once for each way."""
        cdef object first = None, last = None
        cdef tuple key
        cdef bytes line
        while way != NULL:
            # An answer brings no request, whatever it goes through before and after.
            if (<Gate> way.gate).asks:
                first = <object> way.gate
                if last is None:
                    last = first
            way = way.previous
        key = (gate, first, last)
        if self.introductions is None:
            self.introductions = {}
        line = self.introductions.get(key)
        if line is None:
            line = self.owner.request_info(key[0], key[1], key[2])
            self.introductions[key] = line
        return line

    cdef Message *sign(self, Message *message) except NULL:
        """The message with the line that tells who sends it, and without any other such line."""
        if self.signed_from != message:
            self.signed_tail = edited(message, &self.signed_message, reply_of(message), SIGNATURE, self.signature, True)
            self.signed_from = message
        return &self.signed_message

    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1:
        """Copies a message into this client's outbox. False when the client or the subscription cannot take it."""
        cdef Subscription subscription = <Subscription> target.subscription
        cdef const char *head = <char *> plan + target.head
        cdef const char *sid = <char *> plan + target.sid
        cdef size_t head_length = target.head_length
        cdef size_t sid_length = target.sid_length
        cdef char *room
        cdef size_t count
        cdef size_t payload
        cdef char sizes[32]
        cdef int digits
        if subscription.closed or self.closed or (sender is self and not self.echo):
            return False
        if unlikely(self.wants_signed and not sender.signs):
            message = sender.sign(message)
        if unlikely(sender.shown != NULL):
            head = sender.shown
            head_length = sender.shown_length
        if message.header >= 0 and not self.headers or message.header == 0:
            # The receiver gets the payload alone, as an ordinary MSG.
            payload = message.size - message.header
            digits = snprintf(sizes, 32, b"%zu\r\n", payload)
            count = head_length - 1 + sid_length + message.reply_length + 1 + digits + payload + 2
            room = self.reserve(count)
            if room == NULL:
                return False
            memcpy(room, head + 1, head_length - 1)
            room += head_length - 1
            memcpy(room, sid, sid_length)
            room += sid_length
            if message.reply_length:
                memcpy(room, message.reply, message.reply_length)
                room += message.reply_length
                room[0] = b" "
                room += 1
            else:
                count -= 1
            memcpy(room, sizes, digits)
            memcpy(room + digits, message.body + message.header, payload)
            memcpy(room + digits + payload, b"\r\n", 2)
        else:
            if message.header < 0:
                head += 1
                head_length -= 1
            count = head_length + sid_length + message.tail_length
            room = self.reserve(count)
            if room == NULL:
                return False
            memcpy(room, head, head_length)
            room += head_length
            if sid_length <= 8 and sid_length + message.tail_length >= 8:
                memcpy(room, target.sid_start, 8)       # The tail overwrites what is too much.
            else:
                memcpy(room, sid, sid_length)
            memcpy(room + sid_length, message.tail, message.tail_length)
        self.tail += count
        self.out_messages += 1
        self.out_bytes += message.size
        subscription.delivered += 1
        if subscription.maximum and subscription.delivered >= subscription.maximum:
            subscription.closed = True
            self.hub.finished.append(subscription)
        if self.tail - self.head > self.soft_ceiling and sender is not self:
            sender.congested = self
        if unlikely(self.attended):
            self.attend(message, count)
        return True

    cdef int attend(self, Message *message, size_t count) except -1:
        """What follows from a delivery, whose frame of `count` bytes was appended last."""
        cdef char *frame = self.buffer + self.tail - count
        cdef size_t size = message.size, length
        cdef Py_ssize_t header = message.header
        if self.responses and message.reply_length:
            self.grant(message)
        if self.shown_to is not None:
            if header == 0 or header > 0 and not self.headers:
                size -= header
                header = -1
            length = count - size - 4
            self.shown_to.sent_message(PyBytes_FromStringAndSize(frame, length), header,
                                       PyBytes_FromStringAndSize(frame + length + 2, size))
        return 0

    cdef int grant(self, Message *message) except -1:
        """Opens the message's reply subject for this client, as its policy says."""
        cdef Policy policy = self.plans.policy
        cdef Grant opened = Grant.__new__(Grant)
        cdef double now = self.hub.now
        opened.remaining = policy.response_maximum
        opened.expires = -1.0 if policy.response_seconds < 0 else now + policy.response_seconds
        if self.grants is None:
            self.grants = {}
        elif len(self.grants) >= self.grants_to_sweep:
            self.grants = {
                reply: grant for reply, grant in self.grants.items()
                if (<Grant> grant).expires < 0 or (<Grant> grant).expires > now
            }
            self.grants_to_sweep = max(SMALLEST_SWEEP, 2 * len(self.grants))
        self.grants[PyBytes_FromStringAndSize(message.reply, message.reply_length)] = opened
        return 0

    cdef Grant open_grant(self, const char *subject, size_t length):
        """The response grant that opens the subject now, or None."""
        cdef Grant opened
        if self.grants is None:
            return None
        cdef bytes key = PyBytes_FromStringAndSize(subject, length)
        opened = self.grants.get(key)
        if opened is not None and opened.expires >= 0 and opened.expires <= self.hub.now:
            del self.grants[key]
            return None
        return opened

    cdef int spend(self, Grant opened, const char *subject, size_t length) except -1:
        """Uses up one message of a response grant."""
        if opened.remaining > 0:
            opened.remaining -= 1
            if opened.remaining == 0:
                del self.grants[PyBytes_FromStringAndSize(subject, length)]
        return 0

    cdef int answer_no_responders(self, Message *message) except -1:
        """Sends the status 503 to this client's own plain subscription on the reply subject, if it has one."""
        cdef size_t index
        cdef Subscription subscription
        cdef bytes header, line
        if not self.headers or memchr(message.subject, b"\n", message.subject_length) != NULL:
            return 0
        scratch_hits.count = 0
        self.plans.namespace.sublist.collect(message.reply, message.reply_length, &scratch_hits)
        for index in range(scratch_hits.count):
            subscription = <Subscription> scratch_hits.items[index]
            if (subscription.client is not self or subscription.queue is not None or subscription.closed
                    or subscription.crosses):
                continue
            if subscription.denies is not None and subscription.denies.matches(message.reply, message.reply_length):
                continue
            header = b"NATS/1.0 503\r\nNats-Subject: %b\r\n\r\n" % (
                PyBytes_FromStringAndSize(message.subject, message.subject_length))
            # The status is the server's own word: neither echo nor the subscription's maximum concern it.
            line = b"HMSG %b %b %d %d" % (
                PyBytes_FromStringAndSize(message.reply, message.reply_length), subscription.sid,
                len(header), len(header))
            self.take_status(subscription, message, line, header)
            self.out_messages += 1
            self.out_bytes += len(header)
            break
        return 0

    cdef int take_status(self, Subscription subscription, Message *message, bytes line, bytes header) except -1:
        """Puts a status from the server into the outbox."""
        self.append(b"%b\r\n%b\r\n" % (line, header))
        if self.shown_to is not None:
            self.shown_to.sent_message(line, len(header), header)
        return 0


cdef class Inbox(Client):
    """A client inside the broker: what it receives is handed to its owner at the end of the turn.

    The owner's `received` is called with the subscription, the sender, and a tuple of subject, reply, header (None for
    none) and payload.
    """

    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1:
        cdef Subscription subscription = <Subscription> target.subscription
        cdef size_t header = 0 if message.header < 0 else message.header
        cdef const char *head = <char *> plan + target.head
        cdef size_t head_length = target.head_length
        if subscription.closed or self.closed or (sender is self and not self.echo):
            return False
        if unlikely(sender.shown != NULL):
            head = sender.shown
            head_length = sender.shown_length
        self.out_messages += 1
        self.out_bytes += message.size
        subscription.delivered += 1
        self.hub.deferred.append((self.owner.received, (subscription, sender, (
            PyBytes_FromStringAndSize(head + 5, head_length - 6),
            PyBytes_FromStringAndSize(message.reply, message.reply_length) if message.reply_length else None,
            None if message.header < 0 else PyBytes_FromStringAndSize(message.body, header),
            PyBytes_FromStringAndSize(message.body + header, message.size - header),
        ))))
        return True

    cdef int take_status(self, Subscription subscription, Message *message, bytes line, bytes header) except -1:
        """Hands a status to the owner, like a message from itself."""
        self.hub.deferred.append((self.owner.received, (subscription, self, (
            PyBytes_FromStringAndSize(message.reply, message.reply_length), None, header, b""
        ))))
        return 0
