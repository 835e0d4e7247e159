# The messages of one stream by sequence, in blocks, with an index of their subjects.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stddef cimport size_t

from broker.core.sublist cimport Sublist


cdef packed struct Record:
    uint32_t size           # of the whole record, this head included
    uint32_t header         # bytes of the header block, or NO_HEADER
    uint32_t subject        # bytes of the subject
    uint64_t sequence
    int64_t time            # nanoseconds since 1970 UTC


cdef struct Topic:
    char *text              # the subject; NULL where the place is free
    uint32_t length
    uint64_t hash
    uint64_t count
    uint64_t first          # the lowest sequence, or where the search for it begins
    uint64_t last           # the highest sequence, or where the search for it begins
    bint first_loose
    bint last_loose


cdef class Log


cdef class Block:
    cdef readonly uint64_t first    # the sequence of the first place
    cdef uint32_t count             # places in use; each is a sequence
    cdef uint32_t capacity
    cdef uint32_t *offsets          # of the record in data, or GONE
    cdef uint32_t *topics           # which subject it has
    cdef char *data                 # NULL while the records are in the store only
    cdef uint32_t used              # bytes of data, also while it is not here
    cdef uint32_t room
    cdef readonly uint32_t live     # messages that are left
    cdef uint32_t live_bytes        # of their records
    cdef uint32_t worth             # what they count
    cdef int64_t first_time
    cdef int64_t last_time
    cdef uint32_t kept              # places that the store has
    cdef uint32_t kept_bytes        # and bytes of data
    cdef list pieces                # sequences under which the store has parts of it; None for none
    cdef bint full                  # takes no more
    cdef bint headed                # a message came with a header
    cdef bint thinned               # messages went that the store has
    cdef bint skipped               # messages went before the store had them
    cdef bint listed                # stands among the changed blocks of its log
    cdef uint32_t holders           # pictures that still need its records, which then stay as they are
    cdef bint owed                  # something was left undone for their sake
    cdef bint wiped                 # what went is to be overwritten

    cdef int widen(self, uint32_t count) except -1
    cdef int make_room(self, size_t bytes) except -1


cdef class Filter:
    cdef readonly Sublist patterns  # None: everything
    cdef uint8_t *verdicts          # by subject: not judged yet, passes, does not
    cdef uint32_t judged
    cdef uint64_t epoch             # of the subjects' numbers when they were judged

    cdef bint passes(self, Log log, uint32_t topic) except -1


cdef class Cursor:
    cdef readonly Log log
    cdef readonly Filter filter
    cdef uint64_t position          # the next sequence to look at
    cdef uint64_t counted           # all up to here have been counted
    cdef uint64_t waiting           # messages from position to counted that pass
    cdef object selected            # sequences that come before all others; None for none
    cdef set members                # those of them that still have their message

    cdef uint64_t advance(self) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t pending(self) except? 0xFFFFFFFFFFFFFFFF


cdef class Usage:
    cdef readonly int64_t bytes     # of all logs
    cdef readonly Usage above       # None for the outermost

    cdef void count(self, int64_t more)


cdef class Picture:
    cdef readonly Log log
    cdef readonly uint64_t last     # the last sequence of the log at that moment
    cdef list blocks                # with messages then, in order; None where it was handed out
    cdef Py_ssize_t at              # the next of them
    cdef uint32_t place             # the next place in it
    cdef dict kept                  # by block that lost messages since: which places had one
    cdef readonly bint broken       # the log was loaded anew

    cdef int keep(self, Block block) except -1
    cdef int release(self, Block block) except -1


cdef class Log:
    cdef readonly bint file
    cdef readonly uint64_t first
    cdef readonly uint64_t last
    cdef readonly uint64_t messages
    cdef readonly uint64_t bytes
    cdef readonly int64_t last_time
    cdef public uint64_t durable    # up to here the store has it
    cdef public int64_t maximum_messages    # -1: any number
    cdef public int64_t maximum_bytes
    cdef public int64_t maximum_per_subject
    cdef readonly list blocks       # in the order of their sequences
    cdef list changed               # blocks that the store does not have as they are
    cdef public bint losing         # messages were removed, and the store does not have it yet
    cdef bint moved                 # first, last or the time of the last changed
    cdef readonly uint64_t held     # bytes of data in memory
    cdef public uint64_t maximum_held   # from which on blocks that were brought are let go
    cdef object resident            # full blocks whose records are in memory, the earliest first
    cdef public object loader       # is asked for the records of a block that are not here
    cdef Usage shared               # counts the bytes with those of other logs; None for none
    cdef list cursors
    cdef list pictures              # that are not closed
    cdef Topic *topic_table
    cdef uint32_t topic_count       # numbers given out
    cdef uint32_t topic_room
    cdef readonly uint32_t subjects # with messages
    cdef uint32_t *buckets          # number + 1 by hash; 0 is free
    cdef size_t bucket_mask
    cdef readonly uint64_t epoch    # numbers of subjects are void when it changes
    cdef bint loading

    cdef uint64_t add(self, const char *subject, size_t subject_length, const char *header, Py_ssize_t header_length,
                      const char *payload, size_t payload_length, int64_t time) except 0
    cdef Block open_block(self, size_t bytes)
    cdef uint32_t topic_of(self, const char *subject, size_t length, bint create) except? 0xFFFFFFFF
    cdef int grow_topics(self) except -1
    cdef int rebucket(self, size_t count) except -1
    cdef int forget_free_topics(self) except -1
    cdef Py_ssize_t place_of(self, uint64_t sequence)
    cdef Block block_of(self, uint64_t sequence)
    cdef int take_out(self, Block block, uint32_t index) except -1
    cdef int strike(self, Block block, uint32_t index) except -1
    cdef int settle_first(self) except -1
    cdef int mark(self, Block block) except -1
    cdef int enforce(self, uint32_t topic) except -1
    cdef int enforce_subject(self, uint32_t number) except -1
    cdef int enforce_whole(self) except -1
    cdef int drop_emptied(self) except -1
    cdef Record *record(self, Block block, uint32_t index) except NULL
    cdef int bring(self, Block block) except -1
    cdef int let_go(self, uint64_t keep, Py_ssize_t stay) except -1
    cdef int tighten_first(self, Topic *topic, uint32_t number) except -1
    cdef int tighten_last(self, Topic *topic, uint32_t number) except -1
    cdef uint64_t scan(self, Filter filter, uint64_t start, uint64_t stop) except? 0xFFFFFFFFFFFFFFFF
    cdef uint64_t scan_back(self, Filter filter, uint64_t start) except? 0xFFFFFFFFFFFFFFFF
    cdef void count(self, int64_t more)
    cdef void free_topics(self) noexcept
    cdef uint64_t counted(self, size_t subject, Py_ssize_t header, size_t payload) noexcept
    cdef int drop_leading(self, Py_ssize_t count) except -1
    cdef int forget(self, Block block, list changes) except -1
    cdef int write(self, Block block, list changes, bint erase) except -1
    cdef int squeeze(self, Block block, uint32_t place, uint32_t at) except -1
    cdef bytes bitmap(self, Block block)
    cdef bytes index(self, Block block)
    cdef int met(self, uint32_t number, uint64_t sequence) except -1
    cdef uint64_t tally(self, Filter filter, uint64_t start, uint64_t stop) except? 0xFFFFFFFFFFFFFFFF
