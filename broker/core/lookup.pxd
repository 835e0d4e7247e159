# Requests for the last message of a subject, and the messages that answer them.

from libc.stdint cimport uint32_t
from libc.stddef cimport size_t

from broker.core.intake cimport Queue
from broker.core.log cimport Log, Record
from broker.core.plan cimport Inbox


cdef struct Wanted:
    uint32_t size           # of the whole, this head included
    uint32_t subject
    uint32_t reply
    uint32_t reserved


cdef class Lookup(Inbox):
    cdef readonly Log log
    cdef readonly bytes before      # of the subject in a request that asks for the last message of one
    cdef bytes stream               # the header line that names the stream
    cdef dict cleared               # plans of senders -> whether they may ask for anything
    cdef Queue waiting
    cdef list askers                # subscription and sender of each that waits
    cdef bint announced
    cdef char *scratch
    cdef size_t scratch_room

    cdef bint is_cleared(self, object sender)
    cdef int send_record(self, Record *record, const char *reply, size_t reply_length) except -1
