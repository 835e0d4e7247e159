"""The last message of a subject, sent to those who ask for it by the subject of their request (ADR-31).

A request without a word in it is answered at the end of the turn without a step of Python, when the message is on disk and
nothing that is not could take it away, and who asks may have any message. All other requests are handed to the owner, in
the order of their coming among themselves.
"""

from cython cimport unlikely
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy
from libc.time cimport gmtime_r, time_t, tm

from broker.core.log cimport Block, Topic
from broker.core.message cimport Message
from broker.core.plan cimport Client, Plan, PlanCache, Subscription, Target

cdef uint32_t NO_HEADER = UINT32_MAX
cdef uint32_t NO_TOPIC = UINT32_MAX
cdef size_t BARE = 12                   # bytes of a header block without lines
cdef size_t LONGEST_TIME = 48


cdef int word_time(char *at, int64_t time) noexcept:
    """Writes nanoseconds since 1970 as RFC 3339 in UTC, without the last zeros of the fraction; returns the bytes."""
    cdef time_t seconds = <time_t> (time // 1_000_000_000)
    cdef int64_t fraction = time - <int64_t> seconds * 1_000_000_000
    cdef tm parts
    cdef int length
    gmtime_r(&seconds, &parts)
    length = snprintf(at, LONGEST_TIME, b"%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900, parts.tm_mon + 1,
                      parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec)
    if fraction:
        length += snprintf(at + length, LONGEST_TIME - length, b".%09lld", <long long> fraction)
        while at[length - 1] == b"0":
            length -= 1
    at[length] = b"Z"
    return length + 1


cdef class Lookup(Inbox):
    """The receiver behind the direct gets of one stream.

    Its owner's `received` gets what is not answered here, as from any inbox, and `clears` is asked once for each kind of
    sender whether those may have any message of the stream.
    """

    def __init__(self, hub, Log log not None, bytes before not None, bytes stream not None):
        """`before` is what stands in front of the subject in a request, `stream` the name of the stream."""
        self.log = log
        self.before = before
        self.stream = b"Nats-Stream: %b\r\n" % stream
        self.waiting = Queue()
        self.askers = []
        self.cleared = {}

    def __dealloc__(self):
        free(self.scratch)

    def forget(self):
        """Asks again who may have any message."""
        self.cleared.clear()

    cdef bint is_cleared(self, object sender):
        cdef PlanCache plans = (<Client> sender).plans
        known = self.cleared.get(plans)
        if known is None:
            known = self.cleared[plans] = bool(self.owner.clears(sender))
        return known

    cdef bint deliver(self, Client sender, Message *message, Plan *plan, Target *target) except -1:
        cdef Subscription subscription = <Subscription> target.subscription
        cdef const char *subject = <char *> plan + target.head + 5
        cdef size_t length = target.head_length - 6
        cdef size_t before = PyBytes_GET_SIZE(self.before)
        cdef size_t size
        cdef Wanted *wanted
        if (message.size or message.header >= 0 or message.reply_length == 0 or length <= before or sender is self
                or sender.shown != NULL or subscription.closed or self.closed or sender.plans is None
                or memcmp(subject, PyBytes_AS_STRING(self.before), before) != 0 or not self.is_cleared(sender)):
            return Inbox.deliver(self, sender, message, plan, target)
        size = (sizeof(Wanted) + length + message.reply_length + 7) & ~(<size_t> 7)
        wanted = <Wanted *> self.waiting.reserve(size)
        self.waiting.tail += size
        wanted.size = <uint32_t> size
        wanted.subject = <uint32_t> length
        wanted.reply = <uint32_t> message.reply_length
        memcpy(<char *> wanted + sizeof(Wanted), subject, length)
        memcpy(<char *> wanted + sizeof(Wanted) + length, message.reply, message.reply_length)
        self.askers.append((subscription, sender))
        self.out_messages += 1
        subscription.delivered += 1
        if not self.announced:
            self.announced = True
            self.hub.deferred.append((self.answer, ()))
        return True

    def answer(self):
        """Answers what was asked in this turn; the core calls it at the end of the turn."""
        cdef Wanted *wanted
        cdef Topic *topic
        cdef Block block
        cdef const char *subject
        cdef size_t before = PyBytes_GET_SIZE(self.before)
        cdef size_t start
        cdef uint32_t number
        cdef Py_ssize_t at = 0
        cdef list askers = self.askers
        self.askers = []
        self.announced = False
        while self.waiting.head < self.waiting.tail:
            start = self.waiting.head
            wanted = <Wanted *> (self.waiting.data + start)
            self.waiting.head += wanted.size
            asker = askers[at]
            at += 1
            if self.closed:
                continue
            subject = <char *> wanted + sizeof(Wanted)
            number = self.log.topic_of(subject + before, wanted.subject - before, False)
            block = None
            if number != NO_TOPIC and self.log.topic_table[number].count and not self.log.losing:
                topic = self.log.topic_table + number
                self.log.tighten_last(topic, number)
                if topic.last <= self.log.durable:
                    block = self.log.block_of(topic.last)
            if block is None:
                self.owner.received(asker[0], asker[1], (
                    PyBytes_FromStringAndSize(subject, wanted.subject),
                    PyBytes_FromStringAndSize(subject + wanted.subject, wanted.reply), None, b""))
                continue
            # An answer may come back here as a request and move the queue: what is used of it is copied before.
            self.send_record(self.log.record(block, <uint32_t> (topic.last - block.first)),
                             subject + wanted.subject, wanted.reply)
        self.waiting.emptied()

    cdef int send_record(self, Record *record, const char *reply, size_t reply_length) except -1:
        """Publishes a stored message on a reply subject, with lines that say where it was."""
        cdef size_t header = 0 if record.header == NO_HEADER else record.header
        cdef const char *text = <const char *> record + sizeof(Record)
        cdef const char *body = text + record.subject
        cdef size_t payload = record.size - sizeof(Record) - record.subject - header
        cdef size_t stream = PyBytes_GET_SIZE(self.stream)
        cdef size_t room = reply_length + header + payload + record.subject + stream + 256
        cdef char lines[160]
        cdef size_t lines_length, start, length
        cdef char *at
        cdef char *scratch
        cdef Message message
        if room > self.scratch_room:
            scratch = <char *> realloc(self.scratch, room * 2)
            if scratch == NULL:
                raise MemoryError()
            self.scratch = scratch
            self.scratch_room = room * 2
        lines_length = snprintf(lines, 80, b"\r\nNats-Sequence: %llu\r\nNats-Time-Stamp: ",
                                <unsigned long long> record.sequence)
        lines_length += word_time(lines + lines_length, record.time)
        memcpy(lines + lines_length, b"\r\n\r\n", 4)
        lines_length += 4
        start = header - 2 if header > BARE else 10
        length = start + stream + 14 + record.subject + lines_length
        at = self.scratch
        memcpy(at, reply, reply_length)
        message.subject = at
        message.subject_length = reply_length
        message.reply = NULL
        message.reply_length = 0
        at += reply_length
        message.tail = at
        at += snprintf(at, 48, b"%zu %zu\r\n", length, length + payload)
        message.body = at
        message.header = length
        if header > BARE:
            memcpy(at, body, start)
        else:
            memcpy(at, b"NATS/1.0\r\n", start)
        at += start
        memcpy(at, PyBytes_AS_STRING(self.stream), stream)
        at += stream
        memcpy(at, b"Nats-Subject: ", 14)
        at += 14
        memcpy(at, text, record.subject)
        at += record.subject
        memcpy(at, lines, lines_length)
        at += lines_length
        memcpy(at, body + header, payload)
        at += payload
        memcpy(at, b"\r\n", 2)
        message.size = length + payload
        message.tail_length = at + 2 - message.tail
        self.publish(&message)
        return 0
