# What a consumer was given and has not acknowledged, and the way of stored messages to who receives them.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stddef cimport size_t

from broker.core.log cimport Cursor, Log, Record
from broker.core.plan cimport Client


cdef struct Given:
    uint64_t sequence           # of the stream
    uint64_t number             # of the consumer, at its last delivery
    int64_t given               # when it was delivered last, nanoseconds since 1970 UTC
    int64_t due                 # when it is delivered again without a word
    uint32_t deliveries
    bint settled                # acknowledged, or given up


cdef class Feed(Client):
    cdef readonly Log log
    cdef public Cursor cursor
    cdef bytes acknowledged_on      # "$JS.ACK.<stream>.<consumer>."
    cdef public bytes extra         # header lines that go with each message; None for none
    cdef public bint headers_only
    cdef public bint explicit       # each message is acknowledged for itself
    cdef public bint remembers      # given messages are kept until they are settled
    cdef public bint reports        # who owns it wants to know which sequences were settled
    cdef public uint64_t number     # of the last delivery
    cdef public int64_t wait        # nanoseconds until a message is due again
    cdef Given *items
    cdef size_t head
    cdef size_t tail
    cdef size_t room
    cdef readonly size_t outstanding    # given and not settled
    cdef list settled
    cdef bint stirred
    cdef public uint64_t last     # sequence of the new message that was delivered last
    cdef char *scratch
    cdef size_t scratch_room
    cdef char reply[1024]
    cdef size_t reply_length

    cdef Given *find(self, uint64_t sequence)
    cdef int remember(self, uint64_t sequence, int64_t now) except -1
    cdef bint settle_one(self, Given *given)
    cdef Py_ssize_t word_reply(self, Record *record, uint32_t deliveries) except -1
    cdef Py_ssize_t send_record(self, bytes subject, Record *record) except -1
    cdef int stir(self) except -1
    cdef int hand_over(self, Client sender, const char *arguments, size_t length, const char *reply, size_t reply_length,
                       const char *payload, size_t size) except -1
