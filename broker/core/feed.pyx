"""Stored messages on their way to a consumer's receivers, and the acknowledgements that come back.

A feed is the client that delivers them, through the plan for the deliver subject like every other message, and the receiver
behind the subject that they are acknowledged on. What was given stands in the order of its sequence; plain
acknowledgements are settled without a step of Python, all others are handed to the owner.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, UINT32_MAX
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove

from broker.core.log cimport Block
from broker.core.message cimport Message
from broker.core.plan cimport Plan, Subscription, Target

cdef uint32_t NO_HEADER = UINT32_MAX

ENOUGH = 0
"""A delivery stopped because it delivered as many as it was asked for."""
NOTHING_LEFT = 1
"""There is no further message."""
TOO_LARGE = 2
"""The next message has more bytes than are left."""
NOBODY = 3
"""Nobody receives on the subject."""
GONE = 4
"""The message is not there any more."""
CONGESTED = 5
"""A receiver lags; the message that shows it was delivered."""


cdef class Feed(Client):
    """The delivering side of a consumer. Two methods of its owner are called at the end of a turn: `settled()` once after
    acknowledgements, and `acknowledged(arguments, reply, payload, owner)` for each that says more than `+ACK`, or asks for an
    answer, with the owner of the client that says it."""

    def __init__(self, hub, Log log not None, Cursor cursor not None, bytes acknowledged_on not None):
        self.log = log
        self.cursor = cursor
        self.acknowledged_on = acknowledged_on
        self.headers = True
        self.settled = []
        self.explicit = self.remembers = True
        self.wait = 30 * 1000000000

    def __dealloc__(self):
        free(self.items)
        free(self.scratch)

    # What was given

    cdef Given *find(self, uint64_t sequence):
        """The given message with a sequence, or NULL."""
        cdef size_t low = self.head, high = self.tail, middle
        while low < high:
            middle = (low + high) >> 1
            if self.items[middle].sequence < sequence:
                low = middle + 1
            else:
                high = middle
        if low == self.tail or self.items[low].sequence != sequence or self.items[low].settled:
            return NULL
        return &self.items[low]

    cdef int remember(self, uint64_t sequence, int64_t now) except -1:
        cdef Given *items
        cdef size_t room
        if self.tail == self.room:
            if self.head > self.room >> 1:
                memmove(self.items, self.items + self.head, (self.tail - self.head) * sizeof(Given))
            else:
                room = max(<size_t> 16, self.room * 2)
                items = <Given *> malloc(room * sizeof(Given))
                if items == NULL:
                    raise MemoryError()
                if self.items != NULL:
                    memcpy(items, self.items + self.head, (self.tail - self.head) * sizeof(Given))
                    free(self.items)
                self.items = items
                self.room = room
            self.tail -= self.head
            self.head = 0
        items = self.items + self.tail
        items.sequence = sequence
        items.number = self.number
        items.given = now
        items.due = now + self.wait
        items.deliveries = 1
        items.settled = False
        self.tail += 1
        self.outstanding += 1
        return 0

    cdef bint settle_one(self, Given *given):
        given.settled = True
        self.outstanding -= 1
        while self.head < self.tail and self.items[self.head].settled:
            self.head += 1
        if self.head == self.tail:
            self.head = self.tail = 0
        return True

    def acknowledge(self, uint64_t sequence):
        """Takes a message for settled; returns whether it was given and is not settled yet."""
        cdef Given *given = self.find(sequence)
        return given != NULL and self.settle_one(given)

    def acknowledge_to(self, uint64_t sequence):
        """Takes all messages up to a sequence for settled; returns their sequences."""
        cdef list made = []
        while self.head < self.tail and self.items[self.head].sequence <= sequence:
            made.append(self.items[self.head].sequence)
            self.settle_one(&self.items[self.head])
        return made

    def clear(self):
        """Forgets all that was given."""
        self.head = self.tail = self.outstanding = 0

    def restore(self, uint64_t sequence, uint64_t number, int64_t given, int64_t due, uint32_t deliveries):
        """Remembers a message that was given before, in the order of the sequences."""
        cdef Given *item
        self.remember(sequence, given)
        item = &self.items[self.tail - 1]
        item.number = number
        item.due = due
        item.deliveries = deliveries

    def given(self):
        """What is not settled, in the order of the sequences: tuples as `restore` takes them."""
        cdef size_t at
        cdef list made = []
        for at in range(self.head, self.tail):
            if not self.items[at].settled:
                made.append((self.items[at].sequence, self.items[at].number, self.items[at].given, self.items[at].due,
                             self.items[at].deliveries))
        return made

    def given_between(self, uint64_t start, uint64_t stop):
        """The sequences from start to stop that were given and are not settled."""
        cdef size_t low = self.head, high = self.tail, middle
        cdef set made = set()
        while low < high:
            middle = (low + high) >> 1
            if self.items[middle].sequence < start:
                low = middle + 1
            else:
                high = middle
        while low < self.tail and self.items[low].sequence <= stop:
            if not self.items[low].settled:
                made.add(self.items[low].sequence)
            low += 1
        return made

    def look(self, uint64_t sequence):
        """One of them, or None."""
        cdef Given *given = self.find(sequence)
        return None if given == NULL else (given.sequence, given.number, given.given, given.due, given.deliveries)

    def lowest(self):
        """Sequence and number of the first that is not settled; None when all are."""
        return None if self.head == self.tail else (self.items[self.head].sequence, self.items[self.head].number)

    def put_off(self, uint64_t sequence, int64_t due):
        """Lets a given message be due at another time; returns whether there is one."""
        cdef Given *given = self.find(sequence)
        if given == NULL:
            return False
        given.due = due
        return True

    def overdue(self, int64_t now):
        """The sequences that are due at a time, and the time at which the next will be, 0 for none."""
        cdef size_t at
        cdef int64_t following = INT64_MAX
        cdef list made = []
        for at in range(self.head, self.tail):
            if self.items[at].settled:
                continue
            if self.items[at].due <= now:
                made.append(self.items[at].sequence)
            elif self.items[at].due < following:
                following = self.items[at].due
        return made, (0 if following == INT64_MAX else following)

    def redelivered(self):
        """How many of those that are not settled were delivered more than once."""
        cdef size_t at, count = 0
        for at in range(self.head, self.tail):
            count += not self.items[at].settled and self.items[at].deliveries > 1
        return count

    # Delivering

    def deliver_new(self, bytes subject not None, Py_ssize_t count, Py_ssize_t most_bytes, int64_t now):
        """Delivers the next messages on a subject: at most so many, and so many bytes where that is not negative.

        A message counts its subject, its reply subject, its header and its payload. Returns how many, how many bytes they
        were, and why it stopped.
        """
        cdef Py_ssize_t sent = 0
        cdef Py_ssize_t bytes_ = 0
        cdef Py_ssize_t size
        cdef uint64_t sequence
        cdef Block block
        cdef Record *record
        while sent < count:
            sequence = self.cursor.advance()
            if sequence == 0:
                return sent, bytes_, NOTHING_LEFT
            block = self.log.block_of(sequence)
            record = self.log.record(block, <uint32_t> (sequence - block.first))
            self.number += 1
            size = self.word_reply(record, 1)
            if 0 <= most_bytes < bytes_ + size:
                self.number -= 1
                self.cursor.back(sequence)
                return sent, bytes_, TOO_LARGE
            if self.send_record(subject, record) == 0:
                self.number -= 1
                self.cursor.back(sequence)
                return sent, bytes_, NOBODY
            sent += 1
            bytes_ += size
            self.last = sequence
            if self.remembers:
                self.remember(sequence, now)
            if self.congested is not None:
                return sent, bytes_, CONGESTED
        return sent, bytes_, ENOUGH

    def deliver_again(self, bytes subject not None, uint64_t sequence, Py_ssize_t most_bytes, int64_t now):
        """Delivers a given message once more. Returns why it did not, or ENOUGH, and the bytes of the message."""
        cdef Given *given = self.find(sequence)
        cdef Block block
        cdef Record *record
        cdef Py_ssize_t size
        if given == NULL:
            return GONE, 0
        block = self.log.block_of(sequence)
        if block is None:
            return GONE, 0
        record = self.log.record(block, <uint32_t> (sequence - block.first))
        self.number += 1
        size = self.word_reply(record, given.deliveries + 1)
        if 0 <= most_bytes < size:
            self.number -= 1
            return TOO_LARGE, size
        if self.send_record(subject, record) == 0:
            self.number -= 1
            return NOBODY, size
        given = self.find(sequence)
        if given != NULL:
            given.deliveries += 1
            given.given = now
            given.due = now + self.wait
        return ENOUGH, size

    cdef Py_ssize_t word_reply(self, Record *record, uint32_t deliveries) except -1:
        """Writes down what the message is acknowledged on; returns the bytes that the message counts."""
        cdef size_t width = PyBytes_GET_SIZE(self.acknowledged_on)
        if width > 900:
            raise ValueError("the name of a consumer is too long")
        memcpy(self.reply, PyBytes_AS_STRING(self.acknowledged_on), width)
        self.reply_length = width + snprintf(
            self.reply + width, 120, b"%u.%llu.%llu.%lld.%llu", deliveries, <unsigned long long> record.sequence,
            <unsigned long long> self.number, <long long> record.time, <unsigned long long> self.cursor.pending())
        return record.size - sizeof(Record) + self.reply_length

    cdef Py_ssize_t send_record(self, bytes subject, Record *record) except -1:
        """Publishes a stored message on a subject; its receivers are shown its own. Returns how many there are."""
        cdef size_t header = 0 if record.header == NO_HEADER else record.header
        cdef const char *text = <const char *> record + sizeof(Record)
        cdef const char *body = text + record.subject
        cdef size_t payload = record.size - sizeof(Record) - record.subject - header
        cdef size_t carried = 0 if self.headers_only else payload
        cdef size_t extra = 0 if self.extra is None else PyBytes_GET_SIZE(self.extra)
        cdef size_t length = header, wanted
        cdef char sizes[48]
        cdef char length_line[48]
        cdef int digits, wide = 0
        cdef Message message
        cdef Plan *plan
        cdef char *room
        cdef char *at
        cdef Py_ssize_t received
        if self.headers_only:
            wide = snprintf(length_line, 48, b"Nats-Msg-Size: %zu\r\n", payload)
        if extra or wide:
            length = (header if header > 12 else 12) + extra + wide
        wanted = record.subject + self.reply_length + length + carried + 128
        if wanted > self.scratch_room:
            room = <char *> realloc(self.scratch, wanted * 2)
            if room == NULL:
                raise MemoryError()
            self.scratch = room
            self.scratch_room = wanted * 2
        room = self.scratch
        memcpy(room, b"HMSG ", 5)
        memcpy(room + 5, text, record.subject)
        room[5 + record.subject] = b" "
        at = room + 6 + record.subject
        message.reply = message.tail = at
        message.reply_length = self.reply_length
        memcpy(at, self.reply, self.reply_length)
        at += self.reply_length
        at[0] = b" "
        at += 1
        if record.header == NO_HEADER and length == 0:
            digits = snprintf(sizes, 48, b"%zu\r\n", carried)
            message.header = -1
        else:
            digits = snprintf(sizes, 48, b"%zu %zu\r\n", length, length + carried)
            message.header = length
        memcpy(at, sizes, digits)
        at += digits
        message.body = at
        if extra or wide:
            if header > 12:
                memcpy(at, body, header - 2)
                at += header - 2
            else:
                memcpy(at, b"NATS/1.0\r\n", 10)
                at += 10
            if extra:
                memcpy(at, PyBytes_AS_STRING(self.extra), extra)
                at += extra
            memcpy(at, length_line, wide)
            at += wide
            memcpy(at, b"\r\n", 2)
            at += 2
        else:
            memcpy(at, body, header)
            at += header
        memcpy(at, body + header, carried)
        at += carried
        memcpy(at, b"\r\n", 2)
        message.size = at - message.body
        message.tail_length = at + 2 - message.tail
        message.subject = PyBytes_AS_STRING(subject)
        message.subject_length = PyBytes_GET_SIZE(subject)
        plan = self.plans.find(message.subject, message.subject_length, False)
        if plan.mapped != NULL:
            plan = self.redirect(self.plans, plan, &message)
            if plan == NULL:
                return 0
        self.shown = room
        self.shown_length = record.subject + 6
        try:
            received = self.execute(self.plans, plan, &message, NULL)
        finally:
            self.shown = NULL
        self.in_messages += 1
        self.in_bytes += message.size
        return received

    # Acknowledgements

    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1:
        cdef Subscription subscription = <Subscription> target.subscription
        cdef const char *subject = <char *> plan + target.head + 5
        cdef size_t length = target.head_length - 6
        cdef size_t width = PyBytes_GET_SIZE(self.acknowledged_on)
        cdef size_t header = 0 if message.header < 0 else message.header
        cdef const char *payload = message.body + header
        cdef size_t size = message.size - header
        cdef uint64_t sequence = 0
        cdef size_t at
        cdef Given *given
        cdef bint plain
        if subscription.closed or self.closed:
            return False
        self.out_messages += 1
        self.out_bytes += message.size
        subscription.delivered += 1
        if length <= width or memcmp(subject, PyBytes_AS_STRING(self.acknowledged_on), width) != 0:
            self.hand_over(sender, subject, length, message.reply, message.reply_length, payload, size)
            return True
        plain = size == 0 or size == 4 and memcmp(payload, b"+ACK", 4) == 0 or size == 3 and memcmp(payload, b"+OK", 3) == 0
        if plain and self.explicit and message.reply_length == 0:
            at = width
            while at < length and subject[at] != b".":
                at += 1
            at += 1
            while at < length and 48 <= subject[at] <= 57:      # Digits.
                sequence = sequence * 10 + (subject[at] - 48)
                at += 1
            given = self.find(sequence)
            if given != NULL:
                self.settle_one(given)
                if self.reports:
                    self.settled.append(sequence)
                self.stir()
                return True
        self.hand_over(sender, subject, length, message.reply, message.reply_length, payload, size)
        return True

    cdef int stir(self) except -1:
        if not self.stirred:
            self.stirred = True
            self.hub.deferred.append((self.owner.settled, ()))
        return 0

    cdef int hand_over(self, Client sender, const char *arguments, size_t length, const char *reply,
                       size_t reply_length, const char *payload, size_t size) except -1:
        self.hub.deferred.append((self.owner.acknowledged, (
            PyBytes_FromStringAndSize(arguments, length),
            PyBytes_FromStringAndSize(reply, reply_length) if reply_length else None,
            PyBytes_FromStringAndSize(payload, size), sender.owner)))
        return 0

    def take_settled(self):
        """The sequences that were acknowledged since the last call, where they are reported."""
        self.stirred = False
        made = self.settled
        if made:
            self.settled = []
        return made
