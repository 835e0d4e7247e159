# Where what is published on a stream's subjects waits to be stored, and what is to be answered once it is.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stddef cimport size_t

from broker.core.log cimport Log
from broker.core.plan cimport Client


cdef struct Taken:
    uint32_t size           # of the whole, this head included
    uint32_t subject
    uint32_t reply
    uint32_t header         # NO_HEADER for none
    uint32_t payload
    uint32_t special        # its headers or its reply ask for more than to be stored


cdef struct Due:
    uint32_t size           # of the whole, this head included
    uint32_t reply
    uint32_t payload        # of the answer; what is made of the sequence when there is none
    uint32_t reserved
    uint64_t sequence


cdef class Queue:
    cdef char *data
    cdef size_t head
    cdef size_t tail
    cdef size_t room

    cdef char *reserve(self, size_t count) except NULL
    cdef void emptied(self) noexcept


cdef class Intake(Client):
    cdef public Log log
    cdef public bint plain          # messages whose headers ask for nothing are stored as they are
    cdef public bint silent         # nothing is answered
    cdef public int64_t largest     # bytes of header and payload that a plain message has at most; negative: any number
    cdef public int64_t allowance   # bytes that plain messages may still count
    cdef readonly uint64_t taken    # messages that were stored without a question
    cdef Queue waiting
    cdef Queue due
    cdef object senders             # owners of the clients that published what is special, in the order of coming
    cdef uint64_t asked             # answers that were ever due
    cdef uint64_t given             # and that were given or refused
    cdef bint announced
    cdef bytes before
    cdef bytes behind

    cdef tuple handed(self, Taken *taken, Py_ssize_t header)
    cdef int settle(self, uint64_t until, bytes refusal) except -1
    cdef int answer_one(self, const char *reply, size_t reply_length, const char *payload, size_t length) except -1
    cdef int owe_answer(self, const char *reply, size_t reply_length, const char *payload, size_t length,
                        uint64_t sequence) except -1
