"""What is published on a stream's subjects, on its way into the log, and the answers to it.

A message is copied once when it is published, in the turn of its publisher, and stored at the end of the turn, in the
order of coming. Most are stored without a step of Python: those of a plain stream whose headers and reply subject ask for
nothing. All others are handed out one by one. Answers wait until whoever owns the stream says that what they speak of is on disk.
"""

from collections import deque

from cython cimport unlikely
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX
from libc.stdio cimport snprintf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memmove

from broker.core.message cimport Message
from broker.core.plan cimport Plan, Subscription, Target

cdef uint32_t NO_HEADER = UINT32_MAX
cdef size_t SMALLEST = 4096
cdef size_t LONGEST_HEADER = 65535      # longer ones are refused


cdef bint asks_for_more(const char *header, size_t length) noexcept:
    """Whether a line of the header block begins with `Nats-`: then someone has to read it."""
    cdef const char *at = header
    cdef const char *stop = header + length
    while stop - at >= 5:
        if memcmp(at, b"Nats-", 5) == 0:
            return True
        at = <const char *> memchr(at, b"\n", stop - at)
        if at == NULL:
            return False
        at += 1
    return False


cdef bint steers(const char *reply, size_t length) noexcept:
    """Whether a reply subject says what the message is in a fast batch: it ends with `.$FI`."""
    return length > 4 and memcmp(reply + length - 4, b".$FI", 4) == 0


cdef class Queue:
    """Records one behind the other, taken from the front."""

    def __dealloc__(self):
        free(self.data)

    cdef char *reserve(self, size_t count) except NULL:
        cdef size_t room
        cdef char *data
        if self.head == self.tail:
            self.head = self.tail = 0
        if self.tail + count <= self.room:
            return self.data + self.tail
        if self.head >= self.room >> 1 and self.tail - self.head + count <= self.room:
            memmove(self.data, self.data + self.head, self.tail - self.head)
        else:
            room = max(SMALLEST, self.room * 2, self.tail - self.head + count)
            data = <char *> malloc(room)
            if data == NULL:
                raise MemoryError()
            if self.data != NULL:
                memcpy(data, self.data + self.head, self.tail - self.head)
                free(self.data)
            self.data = data
            self.room = room
        self.tail -= self.head
        self.head = 0
        return self.data + self.tail

    cdef void emptied(self) noexcept:
        """Gives much memory back when nothing waits in it."""
        if self.head == self.tail:
            self.head = self.tail = 0
            if self.room > 1 << 20:
                free(self.data)
                self.data = NULL
                self.room = 0


cdef class Intake(Client):
    """The receiver behind a stream's subjects. Its owner's `taken` is called once at the end of a turn with messages.

    What waits here counts as pending bytes, as in an outbox: its publishers wait when it is too much.
    """

    def __init__(self, hub):
        self.waiting = Queue()
        self.due = Queue()
        self.senders = deque()
        self.headers = True
        self.echo = False
        self.largest = -1

    def speak(self, bytes before not None, bytes behind not None):
        """The text of an answer, before and behind the sequence."""
        self.before = before
        self.behind = behind

    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1:
        cdef Subscription subscription = <Subscription> target.subscription
        cdef size_t subject_length = target.head_length - 6
        cdef size_t header = 0 if message.header < 0 else message.header
        cdef size_t size = sizeof(Taken) + subject_length + message.reply_length + message.size
        cdef Taken *taken
        cdef char *at
        if subscription.closed or self.closed or (sender is self and not self.echo):
            return False
        if size > UINT32_MAX - 8:
            return False
        size = (size + 7) & ~(<size_t> 7)
        taken = <Taken *> self.waiting.reserve(size)
        self.waiting.tail += size
        taken.size = <uint32_t> size
        taken.subject = <uint32_t> subject_length
        taken.reply = <uint32_t> message.reply_length
        taken.header = NO_HEADER if message.header < 0 else <uint32_t> header
        taken.payload = <uint32_t> (message.size - header)
        taken.special = (header > 0 and (header > LONGEST_HEADER or asks_for_more(message.body, header))
                         or self.largest >= 0 and message.size > <size_t> self.largest
                         or steers(message.reply, message.reply_length))
        at = <char *> taken + sizeof(Taken)
        memcpy(at, <char *> plan + target.head + 5, subject_length)
        at += subject_length
        if message.reply_length:
            memcpy(at, message.reply, message.reply_length)
            at += message.reply_length
        memcpy(at, message.body, message.size)
        if taken.special:
            self.senders.append(sender.owner)
        self.out_messages += 1
        self.out_bytes += message.size
        subscription.delivered += 1
        self.tail += size
        if not self.announced:
            self.announced = True
            self.hub.deferred.append((self.owner.taken, ()))
        if self.tail > self.soft_ceiling and sender is not self:
            sender.congested = self
        return True

    def drain(self, int64_t time):
        """Stores what waits, with this time, in nanoseconds since 1970 UTC.

        Returns None when nothing is left, or the next message that is not stored without a question, as a tuple of
        subject, reply (None for none), header (None for none), payload, and the owner of the client that published it
        where headers or reply ask for something, else None. Whoever takes it drains on.
        """
        cdef Queue waiting = self.waiting
        cdef Taken *taken
        cdef char *at
        cdef Py_ssize_t header
        cdef uint64_t sequence
        cdef uint64_t before
        self.announced = False
        if time < self.log.last_time:
            time = self.log.last_time
        while waiting.head < waiting.tail:
            taken = <Taken *> (waiting.data + waiting.head)
            at = <char *> taken + sizeof(Taken)
            header = -1 if taken.header == NO_HEADER else <Py_ssize_t> taken.header
            waiting.head += taken.size
            if self.plain and not taken.special and self.allowance > <int64_t> taken.size + 64:
                before = self.log.bytes
                sequence = self.log.add(
                    at, taken.subject, at + taken.subject + taken.reply, header,
                    at + taken.subject + taken.reply + (0 if header < 0 else header), taken.payload, time)
                self.allowance -= <int64_t> self.log.bytes - <int64_t> before
                self.taken += 1
                if taken.reply and not self.silent:
                    self.owe_answer(at + taken.subject, taken.reply, NULL, 0, sequence)
                continue
            return self.handed(taken, header)
        self.tail = self.due.tail - self.due.head
        waiting.emptied()
        return None

    cdef tuple handed(self, Taken *taken, Py_ssize_t header):
        cdef char *at = <char *> taken + sizeof(Taken)
        cdef size_t body = taken.subject + taken.reply
        return (
            PyBytes_FromStringAndSize(at, taken.subject),
            PyBytes_FromStringAndSize(at + taken.subject, taken.reply) if taken.reply else None,
            None if header < 0 else PyBytes_FromStringAndSize(at + body, header),
            PyBytes_FromStringAndSize(at + body + (0 if header < 0 else header), taken.payload),
            self.senders.popleft() if taken.special else None,
        )

    # Answers

    cdef int owe_answer(self, const char *reply, size_t reply_length, const char *payload, size_t length,
                        uint64_t sequence) except -1:
        cdef size_t size = (sizeof(Due) + reply_length + length + 7) & ~(<size_t> 7)
        cdef Due *due = <Due *> self.due.reserve(size)
        self.due.tail += size
        due.size = <uint32_t> size
        due.reply = <uint32_t> reply_length
        due.payload = <uint32_t> length
        due.sequence = sequence
        memcpy(<char *> due + sizeof(Due), reply, reply_length)
        if length:
            memcpy(<char *> due + sizeof(Due) + reply_length, payload, length)
        self.asked += 1
        return 0

    def owe(self, bytes reply not None, uint64_t sequence):
        """The usual answer to a message that was stored with a sequence, behind all that are due."""
        self.owe_answer(PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply), NULL, 0, sequence)

    def owe_text(self, bytes reply not None, bytes payload not None):
        """Another answer, behind all that are due. An empty one has no payload."""
        self.owe_answer(PyBytes_AS_STRING(reply), PyBytes_GET_SIZE(reply), PyBytes_AS_STRING(payload),
                        PyBytes_GET_SIZE(payload), 0)

    @property
    def answers(self):
        """How many answers were ever due: what is said to `give` and `refuse` counts from the beginning."""
        return self.asked

    cdef int answer_one(self, const char *reply, size_t reply_length, const char *payload, size_t length) except -1:
        cdef char sizes[32]
        cdef int digits = snprintf(sizes, 32, b"%zu\r\n", length)
        cdef size_t size = reply_length + length + 64
        cdef char short_room[1024]
        cdef char *room = short_room
        cdef char *at
        cdef Message message
        if size > 1024:
            room = <char *> malloc(size)
            if room == NULL:
                raise MemoryError()
        memcpy(room, reply, reply_length)
        at = room + reply_length
        message.subject = room
        message.subject_length = reply_length
        message.reply = NULL
        message.reply_length = 0
        message.header = -1
        message.tail = at
        memcpy(at, sizes, digits)
        at += digits
        message.body = at
        message.size = length
        if length:
            memcpy(at, payload, length)
        memcpy(at + length, b"\r\n", 2)
        message.tail_length = digits + length + 2
        try:
            self.publish(&message)
        finally:
            if room != short_room:
                free(room)
        return 0

    def give(self, uint64_t until):
        """Gives the answers up to the one with this number: what they speak of is done."""
        self.settle(until, None)

    def refuse(self, uint64_t until, bytes payload not None):
        """Gives this answer in place of each of those up to the one with this number: nothing of it was done."""
        self.settle(until, payload)

    cdef int settle(self, uint64_t until, bytes refusal) except -1:
        cdef Queue queue = self.due
        cdef Due *due
        cdef size_t start
        cdef char text[2048]
        cdef size_t before = PyBytes_GET_SIZE(self.before), behind = PyBytes_GET_SIZE(self.behind)
        cdef int digits
        cdef const char *reply
        while self.given < until and queue.head < queue.tail:
            due = <Due *> (queue.data + queue.head)
            reply = <char *> due + sizeof(Due)
            self.given += 1
            start = queue.head
            queue.head += due.size
            # An answer that a stream's own subjects take may come back here and move the queue; it is not used after that.
            if refusal is not None:
                self.answer_one(reply, due.reply, PyBytes_AS_STRING(refusal), PyBytes_GET_SIZE(refusal))
            elif due.sequence == 0:
                self.answer_one(reply, due.reply, reply + due.reply, due.payload)
            else:
                memcpy(text, PyBytes_AS_STRING(self.before), before)
                digits = snprintf(text + before, 32, b"%llu", <unsigned long long> due.sequence)
                memcpy(text + before + digits, PyBytes_AS_STRING(self.behind), behind)
                self.answer_one(reply, due.reply, text, before + digits + behind)
        queue.emptied()
        self.tail = queue.tail - queue.head + self.waiting.tail - self.waiting.head
        return 0
