"""The messages of one stream by sequence, with an index of their subjects.

Messages stand in blocks of consecutive sequences: their records one behind the other as the store keeps them, and two
columns, where each record begins and which subject it has. The columns are always in memory, the records may be in the
store alone and are brought when they are asked for. What changed since the store was told last is handed out by
`take_changes`, a block at a time.

A subject is met with its number. Its lowest and highest sequence are kept as bounds that are tightened when they are asked
for, so that removing a message never searches.
"""

from cython cimport likely, unlikely
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport UINT32_MAX
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset

from broker.core.sublist cimport natskeep_hash

from collections import deque

cdef uint32_t GONE = UINT32_MAX         # no record at this place
cdef uint32_t NO_HEADER = UINT32_MAX
cdef uint32_t NO_TOPIC = UINT32_MAX
cdef size_t BLOCK_BYTES = 64 << 10      # a block takes no more messages when it would pass this
cdef uint32_t BLOCK_PLACES = 4096
cdef uint64_t MAXIMUM_HELD = 8 << 20    # bytes of records in memory from which on what was brought goes again
cdef Py_ssize_t IN_USE = 4              # blocks that were brought last stay, for who reads has pointers into them
cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFF

# What a filter knows of a subject.
cdef uint8_t UNKNOWN = 0
cdef uint8_t PASSES = 1
cdef uint8_t DROPS = 2

RECORDS = "records"
INDEX = "index"
GAPS = "gaps"


class RecordError(ValueError):
    """What the store handed out is not what was written; the text says which sequence and what is wrong."""


cdef class Entry:
    """A stored message. `time` is in nanoseconds since 1970 UTC; `header` is the whole block, None for none."""

    cdef readonly uint64_t sequence
    cdef readonly int64_t time
    cdef readonly bytes subject
    cdef readonly bytes header
    cdef readonly bytes payload

    def __repr__(self):
        return f"Entry({self.sequence}, {self.subject!r})"


cdef Entry entry_of(Record *record):
    cdef Entry made = Entry.__new__(Entry)
    cdef const char *at = <const char *> record + sizeof(Record)
    cdef size_t header = 0 if record.header == NO_HEADER else record.header
    made.sequence = record.sequence
    made.time = record.time
    made.subject = PyBytes_FromStringAndSize(at, record.subject)
    at += record.subject
    made.header = None if record.header == NO_HEADER else PyBytes_FromStringAndSize(at, header)
    made.payload = PyBytes_FromStringAndSize(
        at + header, record.size - sizeof(Record) - record.subject - header)
    return made


cdef class Block:
    """Messages of consecutive sequences."""

    def __cinit__(self, uint64_t first):
        self.first = first
        self.offsets = self.topics = NULL
        self.data = NULL

    def __dealloc__(self):
        free(self.offsets)
        free(self.topics)
        free(self.data)

    cdef int widen(self, uint32_t count) except -1:
        cdef uint32_t capacity = max(count, min(self.capacity * 2, BLOCK_PLACES), 16)
        cdef uint32_t *offsets
        cdef uint32_t *topics
        if count <= self.capacity:
            return 0
        offsets = <uint32_t *> realloc(self.offsets, capacity * sizeof(uint32_t))
        if offsets == NULL:
            raise MemoryError()
        self.offsets = offsets
        topics = <uint32_t *> realloc(self.topics, capacity * sizeof(uint32_t))
        if topics == NULL:
            raise MemoryError()
        self.topics = topics
        self.capacity = capacity
        return 0

    cdef int make_room(self, size_t bytes) except -1:
        cdef size_t wanted = self.used + bytes
        cdef size_t room
        cdef char *data
        if self.data != NULL and wanted <= self.room:
            return 0
        room = max(wanted, min(<size_t> self.room * 2, BLOCK_BYTES), 1024)
        if room > UINT32_MAX - 1:
            raise MemoryError("a block has no room for so large a message")
        data = <char *> realloc(self.data, room)
        if data == NULL:
            raise MemoryError()
        self.data = data
        self.room = <uint32_t> room
        return 0

    @property
    def last(self):
        """The sequence of the last place."""
        return self.first + self.count - 1

    @property
    def here(self):
        """Whether the records are in memory."""
        return self.data != NULL


cdef class Filter:
    """Which subjects a reader wants: those that match one of its patterns, or all. It remembers what it judged."""

    def __init__(self, patterns=None):
        if patterns is not None:
            self.patterns = Sublist()
            for pattern in patterns:
                self.patterns.insert(pattern, True)

    def __dealloc__(self):
        free(self.verdicts)

    cdef bint passes(self, Log log, uint32_t topic) except -1:
        cdef uint8_t *verdicts
        cdef uint32_t room
        cdef Topic *entry
        if self.patterns is None:
            return True
        if unlikely(self.epoch != log.epoch or topic >= self.judged):
            if self.epoch != log.epoch:
                memset(self.verdicts, UNKNOWN, self.judged)
                self.epoch = log.epoch
            if topic >= self.judged:
                room = max(topic + 1, self.judged * 2, 64)
                verdicts = <uint8_t *> realloc(self.verdicts, room)
                if verdicts == NULL:
                    raise MemoryError()
                memset(verdicts + self.judged, UNKNOWN, room - self.judged)
                self.verdicts = verdicts
                self.judged = room
        if self.verdicts[topic] == UNKNOWN:
            entry = log.topic_table + topic
            self.verdicts[topic] = PASSES if self.patterns.matches(entry.text, entry.length) else DROPS
        return self.verdicts[topic] == PASSES


cdef class Cursor:
    """A place in a log from which on a filter is applied, with the number of messages that lie ahead."""

    def __init__(self, Log log not None, Filter wanted not None, uint64_t position):
        self.log = log
        self.filter = wanted
        self.position = max(position, 1)
        self.counted = self.position - 1
        log.cursors.append(self)

    def close(self):
        """Ends the count of what lies ahead. Nobody may use the cursor after that."""
        if self in self.log.cursors:
            self.log.cursors.remove(self)

    cdef uint64_t advance(self) except? 0xFFFFFFFFFFFFFFFF:
        """The next sequence that passes and is durable, and moves behind it; 0 when there is none."""
        cdef Log log = self.log
        cdef uint64_t found = 0
        while self.selected is not None:
            found = self.selected.popleft()
            if not self.selected:
                self.selected = self.members = None
            elif found in self.members:
                self.members.remove(found)
            if log.block_of(found) is not None:
                return found
            found = 0
        if self.position < log.first:
            self.position = log.first
        if self.position <= log.durable:
            found = log.scan(self.filter, self.position, log.durable)
        if found == 0:
            self.position = max(self.position, log.durable + 1)
            if self.counted < self.position:
                self.counted = self.position - 1
                self.waiting = 0
            return 0
        self.position = found + 1
        if found <= self.counted:
            self.waiting -= 1
        else:
            self.counted = found
            self.waiting = 0
        return found

    cdef uint64_t pending(self) except? 0xFFFFFFFFFFFFFFFF:
        cdef uint64_t start
        if self.counted < self.log.last:
            start = max(self.counted + 1, self.position)
            if start <= self.log.last:
                self.waiting += self.log.tally(self.filter, start, self.log.last)
            self.counted = self.log.last
        return self.waiting if self.selected is None else self.waiting + len(self.members)

    def next(self):
        """The next sequence that passes and that the store has, 0 when there is none; moves behind it."""
        return self.advance()

    def seek(self, uint64_t position):
        """Goes to a sequence."""
        self.position = max(position, 1)
        self.counted = self.position - 1
        self.waiting = 0
        self.selected = self.members = None

    def select(self, sequences, uint64_t position):
        """Delivers these first, in their order, and goes on at a sequence behind them."""
        self.seek(position)
        found = [sequence for sequence in sequences if self.log.block_of(sequence) is not None]
        self.selected = deque(found) if found else None
        self.members = set(found) if found else None

    def awaits(self, uint64_t sequence):
        """Whether a message is still to come, if it is one that passes."""
        return sequence >= self.position or self.selected is not None and sequence in self.members

    def left(self):
        """The sequences that were selected and did not come yet."""
        return [] if self.selected is None else [sequence for sequence in self.selected if sequence in self.members]

    def back(self, uint64_t sequence):
        """Takes a step back: the sequence was the last that came, and shall come again."""
        if sequence < self.position and (self.selected is not None or self.position != sequence + 1):
            if self.selected is None:
                self.selected = deque()
                self.members = set()
            self.selected.appendleft(sequence)
            self.members.add(sequence)
            return
        self.position = sequence
        if self.counted >= sequence:
            self.waiting += 1

    def refilter(self, Filter wanted not None):
        """Takes another filter from here on."""
        self.filter = wanted
        self.seek(self.position)

    @property
    def at(self):
        """The next sequence to be looked at."""
        return self.position

    @property
    def ahead(self):
        """How many messages ahead pass."""
        return self.pending()


cdef class Usage:
    """How many bytes several logs count together; what it counts, the one above it counts too."""

    def __init__(self, Usage above=None):
        self.above = above

    cdef void count(self, int64_t more):
        cdef Usage usage = self
        while usage is not None:
            usage.bytes += more
            usage = usage.above


cdef class Picture:
    """All messages that a log has at one moment, handed out bit by bit while the log goes on.

    What is removed meanwhile stays in its block until the picture is past it, in memory or in the store as it stands
    there; only which places had a message is noted. So a picture costs next to nothing, and is never torn.
    """

    def __init__(self, Log log not None):
        cdef Block block
        self.log = log
        self.last = log.last
        self.blocks = []
        self.kept = {}
        for block in log.blocks:
            if block.live:
                block.holders += 1
                self.blocks.append(block)
        log.pictures.append(self)

    cdef int keep(self, Block block) except -1:
        """A message is about to go: notes which places of its block have one."""
        cdef bytearray made
        cdef unsigned char *bits
        cdef uint32_t index
        if block in self.kept or block.first > self.last:
            return 0
        made = bytearray((block.count + 7) // 8)
        bits = made
        for index in range(block.count):
            if block.offsets[index] != GONE:
                bits[index >> 3] |= <unsigned char> (1 << (index & 7))
        self.kept[block] = made
        return 0

    def take(self, size_t most):
        """The next messages, in order, until their records are `most` bytes; at least one, none where all were taken.

        Raises what the loader raises, RecordError, and ValueError after the log was loaded anew.
        """
        cdef Block block
        cdef Record *record
        cdef bytearray kept
        cdef size_t taken = 0
        cdef uint32_t at, place
        cdef list made = []
        if self.broken:
            raise ValueError("the messages were read anew from the disk meanwhile")
        while self.blocks is not None and self.at < len(self.blocks):
            block = <Block> self.blocks[self.at]
            if block.data == NULL:
                self.log.bring(block)
            kept = self.kept.get(block)
            at = 0
            while at < block.used:
                record = <Record *> (block.data + at)
                if record.size < sizeof(Record) or record.size > block.used - at or record.sequence < block.first:
                    raise RecordError(f"the records from sequence {block.first} on are damaged")
                at += record.size
                if record.sequence > self.last:
                    break
                place = <uint32_t> (record.sequence - block.first)
                if place < self.place:
                    continue
                if place >= block.count or (
                        block.offsets[place] == GONE if kept is None
                        else not kept[place >> 3] >> (place & 7) & 1):
                    continue
                if made and taken + record.size > most:
                    self.place = place
                    return made
                made.append(entry_of(record))
                taken += record.size
            self.release(block)
            self.blocks[self.at] = None
            self.at += 1
            self.place = 0
        return made

    cdef int release(self, Block block) except -1:
        """The block may go on as the log likes."""
        self.kept.pop(block, None)
        block.holders -= 1
        if block.holders == 0 and block.owed:
            block.owed = False
            block.thinned = block.pieces is not None
            if self.log.file:
                self.log.mark(block)
        return 0

    def close(self):
        """Ends it; what was left undone for its sake is among the changes of the log from now on."""
        cdef Block block
        if self.blocks is None:
            return
        for block in self.blocks[self.at:]:
            if not self.broken:
                self.release(block)
        self.blocks = None
        self.kept = {}
        if self in self.log.pictures:
            self.log.pictures.remove(self)


cdef class Log:
    """The messages of one stream. `file` chooses how their sizes are counted, and whether changes are kept for a store.

    The maxima are -1 for none; what is above one of them goes from the front, with the message that was too much.
    """

    def __cinit__(self, uint64_t first=1, *, bint file=True):
        self.file = file
        self.first = first if first > 1 else 0
        self.last = first - 1 if first > 1 else 0
        self.maximum_messages = self.maximum_bytes = self.maximum_per_subject = -1
        self.blocks = []
        self.changed = []
        self.cursors = []
        self.resident = deque()
        self.maximum_held = MAXIMUM_HELD
        self.pictures = []
        self.moved = first > 1
        self.topic_table = NULL
        self.buckets = NULL

    def __dealloc__(self):
        self.free_topics()

    @property
    def usage(self):
        """Where its bytes are counted with those of other logs, or None."""
        return self.shared

    @usage.setter
    def usage(self, Usage usage):
        if self.shared is not None:
            self.shared.count(-<int64_t> self.bytes)
        self.shared = usage
        if usage is not None:
            usage.count(<int64_t> self.bytes)

    cdef void count(self, int64_t more):
        self.bytes += more
        if self.shared is not None:
            self.shared.count(more)

    cdef void free_topics(self) noexcept:
        cdef uint32_t number
        for number in range(self.topic_count):
            free(self.topic_table[number].text)
        free(self.topic_table)
        free(self.buckets)

    # Subjects

    cdef uint32_t topic_of(self, const char *subject, size_t length, bint create) except? 0xFFFFFFFF:
        cdef uint64_t hash = natskeep_hash(subject, length)
        cdef size_t at
        cdef uint32_t number
        cdef Topic *topic
        if self.buckets == NULL:
            if not create:
                return NO_TOPIC
            self.rebucket(16)
        at = <size_t> hash & self.bucket_mask
        while self.buckets[at] != 0:
            topic = self.topic_table + self.buckets[at] - 1
            if topic.hash == hash and topic.length == length and memcmp(topic.text, subject, length) == 0:
                return self.buckets[at] - 1
            at = (at + 1) & self.bucket_mask
        if not create:
            return NO_TOPIC
        if self.topic_count == self.topic_room:
            # Numbers of subjects that have no message any more are given out anew when they are the larger part.
            if not self.loading and self.topic_count > 1024 and self.subjects < self.topic_count // 2:
                self.forget_free_topics()
                return self.topic_of(subject, length, create)
            self.grow_topics()
        number = self.topic_count
        topic = self.topic_table + number
        memset(topic, 0, sizeof(Topic))
        topic.text = <char *> malloc(max(length, 1))
        if topic.text == NULL:
            raise MemoryError()
        memcpy(topic.text, subject, length)
        topic.length = <uint32_t> length
        topic.hash = hash
        self.topic_count += 1
        self.buckets[at] = number + 1
        if <size_t> self.topic_count * 2 > self.bucket_mask:
            self.rebucket((self.bucket_mask + 1) * 2)
        return number

    cdef int grow_topics(self) except -1:
        cdef uint32_t room = max(self.topic_room * 2, 8)
        cdef Topic *larger = <Topic *> realloc(self.topic_table, room * sizeof(Topic))
        if larger == NULL:
            raise MemoryError()
        self.topic_table = larger
        self.topic_room = room
        return 0

    cdef int rebucket(self, size_t count) except -1:
        cdef uint32_t *buckets = <uint32_t *> calloc(count, sizeof(uint32_t))
        cdef uint32_t number
        cdef size_t at
        if buckets == NULL:
            raise MemoryError()
        for number in range(self.topic_count):
            at = <size_t> self.topic_table[number].hash & (count - 1)
            while buckets[at] != 0:
                at = (at + 1) & (count - 1)
            buckets[at] = number + 1
        free(self.buckets)
        self.buckets = buckets
        self.bucket_mask = count - 1
        return 0

    cdef int forget_free_topics(self) except -1:
        """Numbers the subjects that have messages anew; what was remembered of the old numbers is void."""
        cdef uint32_t *renumbered = <uint32_t *> malloc(self.topic_count * sizeof(uint32_t))
        cdef uint32_t number, kept = 0, index
        cdef Block block
        if renumbered == NULL:
            raise MemoryError()
        for number in range(self.topic_count):
            renumbered[number] = NO_TOPIC
            if self.topic_table[number].count == 0:
                free(self.topic_table[number].text)
            else:
                self.topic_table[kept] = self.topic_table[number]
                renumbered[number] = kept
                kept += 1
        self.topic_count = kept
        for block in self.blocks:
            for index in range(block.count):
                if block.offsets[index] != GONE:
                    block.topics[index] = renumbered[block.topics[index]]
        free(renumbered)
        self.epoch += 1
        self.rebucket(self.bucket_mask + 1)
        return 0

    # Where a sequence is

    cdef Py_ssize_t place_of(self, uint64_t sequence):
        """The index of the first block that ends at the sequence or behind it."""
        cdef list blocks = self.blocks
        cdef Py_ssize_t low = 0, high = len(blocks), middle
        cdef Block block
        while low < high:
            middle = (low + high) >> 1
            block = <Block> blocks[middle]
            if block.first + block.count <= sequence:
                low = middle + 1
            else:
                high = middle
        return low

    cdef Block block_of(self, uint64_t sequence):
        """The block in which the sequence has a message, or None."""
        cdef Py_ssize_t at
        cdef Block block
        if sequence < self.first or sequence > self.last or not self.blocks:
            return None
        block = <Block> self.blocks[len(self.blocks) - 1]
        if sequence < block.first:
            at = self.place_of(sequence)
            if at == len(self.blocks):
                return None
            block = <Block> self.blocks[at]
        if sequence < block.first or sequence >= block.first + block.count:
            return None
        return None if block.offsets[sequence - block.first] == GONE else block

    cdef Record *record(self, Block block, uint32_t index) except NULL:
        if block.data == NULL:
            self.bring(block)
        return <Record *> (block.data + block.offsets[index])

    cdef int bring(self, Block block) except -1:
        """Reads the records of a block out of the store."""
        cdef bytes part
        cdef size_t at = 0
        cdef char *data
        parts = self.loader(block.first, tuple(block.pieces))
        if sum(map(len, parts)) != block.used:
            raise RecordError(f"the records from sequence {block.first} on are not those that were written")
        data = <char *> malloc(max(block.used, 1))
        if data == NULL:
            raise MemoryError()
        for part in parts:
            memcpy(data + at, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
            at += PyBytes_GET_SIZE(part)
        block.data = data
        block.room = block.used
        self.held += block.used
        self.resident.append(block)
        if self.held > self.maximum_held:
            self.let_go(self.maximum_held, IN_USE)
        return 0

    cdef int let_go(self, uint64_t keep, Py_ssize_t stay) except -1:
        """Lets go of records that the store has as they are, those first that came into memory first.

        That many blocks stay which came last.
        """
        cdef Block block
        cdef Py_ssize_t left = len(self.resident) - stay
        while self.held > keep and left > 0:
            left -= 1
            block = <Block> self.resident.popleft()
            if block.data == NULL or (block.live == 0 and block.holders == 0):
                continue
            if block.listed or block.pieces is None:
                self.resident.append(block)
                continue
            free(block.data)
            block.data = NULL
            block.room = 0
            self.held -= block.used
        return 0

    cdef int mark(self, Block block) except -1:
        if self.file and not block.listed:
            block.listed = True
            self.changed.append(block)
        return 0

    # Messages come

    cdef Block open_block(self, size_t bytes):
        """The block that the next sequence belongs into, with room for a record of so many bytes."""
        cdef Block block
        cdef uint64_t sequence = self.last + 1
        cdef uint32_t place
        if self.blocks:
            block = <Block> self.blocks[len(self.blocks) - 1]
            if (not block.full and block.used + bytes <= BLOCK_BYTES and sequence >= block.first
                    and sequence - block.first < BLOCK_PLACES):
                if block.data == NULL and block.used:
                    self.bring(block)
                block.widen(<uint32_t> (sequence - block.first) + 1)
                for place in range(block.count, <uint32_t> (sequence - block.first)):
                    block.offsets[place] = GONE
                    block.topics[place] = NO_TOPIC
                block.count = <uint32_t> (sequence - block.first)
                return block
            block.full = True
            self.mark(block)
            if self.file:
                self.resident.append(block)
        block = Block(sequence)
        block.widen(1)
        self.blocks.append(block)
        return block

    cdef uint64_t add(self, const char *subject, size_t subject_length, const char *header, Py_ssize_t header_length,
                      const char *payload, size_t payload_length, int64_t time) except 0:
        cdef size_t head = 0 if header_length < 0 else header_length
        cdef size_t size = sizeof(Record) + subject_length + head + payload_length
        cdef uint32_t number = self.topic_of(subject, subject_length, True)
        cdef Block block = self.open_block(size)
        cdef Record *record
        cdef Topic *topic
        cdef char *at
        cdef uint64_t sequence = self.last + 1
        block.make_room(size)
        record = <Record *> (block.data + block.used)
        record.size = <uint32_t> size
        record.header = NO_HEADER if header_length < 0 else <uint32_t> header_length
        record.subject = <uint32_t> subject_length
        record.sequence = sequence
        record.time = time
        block.headed |= header_length >= 0
        at = <char *> record + sizeof(Record)
        memcpy(at, subject, subject_length)
        at += subject_length
        if head:
            memcpy(at, header, head)
            at += head
        if payload_length:
            memcpy(at, payload, payload_length)
        block.offsets[block.count] = block.used
        block.topics[block.count] = number
        block.count += 1
        block.used += <uint32_t> size
        block.live += 1
        block.live_bytes += <uint32_t> size
        block.worth += <uint32_t> self.counted(subject_length, header_length, payload_length)
        if block.live == 1:
            block.first_time = time
        block.last_time = time
        self.held += size
        self.mark(block)
        self.moved = True
        topic = self.topic_table + number
        if topic.count == 0:
            self.subjects += 1
            topic.first = sequence
            topic.first_loose = False
        topic.count += 1
        topic.last = sequence
        topic.last_loose = False
        if self.messages == 0:
            self.first = sequence
        self.last = sequence
        self.last_time = time
        self.messages += 1
        self.count(<int64_t> self.counted(subject_length, header_length, payload_length))
        if not self.file:
            self.durable = sequence
        self.enforce(number)
        return sequence

    cdef uint64_t counted(self, size_t subject, Py_ssize_t header, size_t payload) noexcept:
        if not self.file:
            return subject + (0 if header < 0 else header) + payload + 16
        return 22 + subject + (0 if header <= 0 else 4 + header) + payload + 8

    cdef int enforce(self, uint32_t number) except -1:
        self.enforce_subject(number)
        self.enforce_whole()
        return 0

    cdef int enforce_subject(self, uint32_t number) except -1:
        cdef Topic *topic = self.topic_table + number
        if self.maximum_per_subject > 0:
            while topic.count > <uint64_t> self.maximum_per_subject:
                self.tighten_first(topic, number)
                self.remove(topic.first)
        return 0

    cdef int enforce_whole(self) except -1:
        while (self.maximum_messages > 0 and self.messages > <uint64_t> self.maximum_messages
               or self.maximum_bytes > 0 and self.bytes > <uint64_t> self.maximum_bytes and self.messages):
            self.remove(self.first)
        return 0

    def enforce_all(self):
        """Applies the maxima to what is there, as after they became smaller."""
        cdef uint32_t number
        self.enforce_whole()
        for number in range(self.topic_count):
            if self.topic_table[number].count:
                self.enforce_subject(number)

    def append(self, bytes subject not None, bytes header, bytes payload not None, int64_t time):
        """Takes a message; returns its sequence."""
        return self.add(
            PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), NULL if header is None else PyBytes_AS_STRING(header),
            -1 if header is None else PyBytes_GET_SIZE(header), PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload), time)

    def append_at(self, uint64_t sequence, bytes subject not None, bytes header, bytes payload not None, int64_t time):
        """Takes a message with a sequence above all that were used, as a copy of another stream's does.

        Raises ValueError for one that is not above them.
        """
        if sequence <= self.last:
            raise ValueError(f"sequence {sequence} is not above {self.last}")
        if sequence > self.last + 1:
            self.skip(sequence - 1)
        return self.append(subject, header, payload, time)

    def skip(self, uint64_t to, int64_t time=0):
        """Uses up all sequences to this one, without messages. `time` is when the last of them had one, where known."""
        if to < self.last:
            return
        if time > self.last_time:
            self.last_time = time
            self.moved = True
        if to == self.last:
            return
        self.last = to
        if not self.file:
            self.durable = to
        if self.messages == 0:
            self.first = to + 1
        self.moved = True

    def picture(self):
        """All messages as they are now, to be taken bit by bit."""
        return Picture(self)

    def size_of(self, size_t subject, Py_ssize_t header, size_t payload):
        """Bytes that a message counts, of lengths; -1 for the header of one without."""
        return self.counted(subject, header, payload)

    # Messages go

    cdef int take_out(self, Block block, uint32_t index) except -1:
        """Removes a message; the first sequence is left to be settled."""
        cdef Record *record = self.record(block, index)
        cdef size_t head = 0 if record.header == NO_HEADER else record.header
        cdef uint64_t worth = self.counted(
            record.subject, -1 if record.header == NO_HEADER else <Py_ssize_t> record.header,
            record.size - sizeof(Record) - record.subject - head)
        self.count(-<int64_t> worth)
        block.worth -= <uint32_t> worth
        block.live_bytes -= record.size
        self.strike(block, index)
        return 0

    cdef int strike(self, Block block, uint32_t index) except -1:
        """Ends a place; what the message counts is settled by whoever calls."""
        cdef uint32_t number = block.topics[index]
        cdef uint64_t sequence = block.first + index
        cdef Topic *topic = self.topic_table + number
        cdef Cursor cursor
        cdef Picture picture
        if unlikely(block.holders):
            for picture in self.pictures:
                picture.keep(block)
            block.owed = True
        self.messages -= 1
        block.live -= 1
        block.offsets[index] = GONE
        if index < block.kept:
            block.thinned = True
        else:
            block.skipped = True
        self.mark(block)
        topic.count -= 1
        if topic.count == 0:
            self.subjects -= 1
        elif topic.first == sequence:
            topic.first = sequence + 1
            topic.first_loose = True
        elif topic.last == sequence:
            topic.last = sequence - 1
            topic.last_loose = True
        for cursor in self.cursors:
            if cursor.selected is not None:
                cursor.members.discard(sequence)
            if sequence >= cursor.position and sequence <= cursor.counted and cursor.filter.passes(self, number):
                cursor.waiting -= 1
        return 0

    cdef int settle_first(self) except -1:
        """Finds the lowest sequence with a message, and lets go of blocks of a memory stream that have none."""
        cdef Block block
        cdef Py_ssize_t at
        cdef uint32_t index
        self.moved = True
        if self.messages == 0:
            self.first = self.last + 1
            if not self.file:
                self.blocks.clear()
                self.held = 0
            return 0
        at = self.place_of(self.first)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            if block.live:
                index = 0 if self.first <= block.first else <uint32_t> (self.first - block.first)
                while index < block.count:
                    if block.offsets[index] != GONE:
                        self.first = block.first + index
                        if at and not self.file:
                            self.drop_leading(at)
                        return 0
                    index += 1
            at += 1
        return 0

    cdef int drop_leading(self, Py_ssize_t count) except -1:
        cdef Block block
        cdef Py_ssize_t at, kept = 0
        for at in range(count):
            block = <Block> self.blocks[at]
            if block.live == 0:
                kept += 1
                if block.data != NULL:
                    self.held -= block.used
            else:
                break
        if kept:
            del self.blocks[:kept]
        return 0

    def remove(self, uint64_t sequence):
        """Removes a message; returns whether there was one."""
        cdef Block block = self.block_of(sequence)
        if block is None:
            return False
        self.take_out(block, <uint32_t> (sequence - block.first))
        if sequence == self.first or self.messages == 0:
            self.settle_first()
        elif block.live == 0 and not self.file and block is not self.blocks[len(self.blocks) - 1]:
            if block.data != NULL:
                self.held -= block.used
            self.blocks.remove(block)
        return True

    def truncate_before(self, uint64_t sequence):
        """Removes all messages below a sequence; returns how many. `first` is then the sequence or above it."""
        cdef uint64_t removed = self.messages
        cdef Block block
        cdef uint32_t index
        cdef Py_ssize_t at
        if sequence > self.last + 1:
            # What is not there yet is never stored either.
            self.truncate_before(self.last + 1)
            self.last = sequence - 1
            self.first = sequence
            if not self.file:
                self.durable = self.last
            self.moved = True
            return removed
        if self.messages == 0 or sequence <= self.first:
            return 0
        at = self.place_of(self.first)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            if block.first >= sequence:
                break
            if block.live and block.first + block.count <= sequence:
                # A whole block goes without a look at its records.
                self.count(-<int64_t> block.worth)
                block.worth = block.live_bytes = 0
                for index in range(block.count):
                    if block.offsets[index] != GONE:
                        self.strike(block, index)
            elif block.live:
                for index in range(<uint32_t> (sequence - block.first)):
                    if block.offsets[index] != GONE:
                        self.take_out(block, index)
            at += 1
        self.first = max(self.first, sequence)
        self.settle_first()
        return removed - self.messages

    def sweep(self, Filter wanted not None, uint64_t start, uint64_t stop, Py_ssize_t places, Py_ssize_t most, list keepers):
        """Removes messages from start to stop that pass the filter, at most so many, as far as so many places reach.

        Each of the keepers is a filter, a sequence and a set of sequences: it keeps what passes it and is not below the
        sequence, or in the set. Returns how many were removed, and where to go on, 0 when all was looked at.
        """
        cdef Py_ssize_t at, removed = 0
        cdef uint32_t index
        cdef uint64_t sequence, first = self.first
        cdef Block block
        cdef bint every = wanted.patterns is None, emptied = False, ended, kept
        cdef Filter filter
        start = max(start, self.first)
        stop = min(stop, self.last)
        sequence = start
        at = self.place_of(start)
        while at < len(self.blocks) and places > 0 and removed < most:
            block = <Block> self.blocks[at]
            if sequence < block.first:
                sequence = block.first
            if sequence > stop:
                break
            if not block.live:
                sequence = block.first + block.count
                places -= 1
                at += 1
                continue
            while sequence < block.first + block.count and sequence <= stop and places > 0 and removed < most:
                index = <uint32_t> (sequence - block.first)
                places -= 1
                if block.offsets[index] != GONE and (every or wanted.passes(self, block.topics[index])):
                    kept = False
                    for filter, position, members in keepers:
                        if (sequence >= <uint64_t> position or sequence in members) and (
                                filter.patterns is None or filter.passes(self, block.topics[index])):
                            kept = True
                            break
                    if not kept:
                        self.take_out(block, index)
                        removed += 1
                        emptied = emptied or block.live == 0
                sequence += 1
            if sequence >= block.first + block.count:
                at += 1
        ended = sequence > stop or at >= len(self.blocks)
        if removed:
            if self.messages == 0 or self.block_of(first) is None:
                self.settle_first()
            if emptied and not self.file:
                self.drop_emptied()
        return removed, (0 if ended else sequence)

    cdef int drop_emptied(self) except -1:
        """Lets go of blocks of a memory stream that have no message; the last one stays."""
        cdef list kept = []
        cdef Block block
        cdef Py_ssize_t at
        for at in range(len(self.blocks)):
            block = <Block> self.blocks[at]
            if block.live or at == len(self.blocks) - 1:
                kept.append(block)
            elif block.data != NULL:
                self.held -= block.used
        self.blocks = kept
        return 0

    def expire(self, int64_t time, uint64_t most=0xFFFFFFFF):
        """Removes from the front what is older than a time, at most so many; returns how many."""
        cdef uint64_t before = self.messages
        cdef Block block
        while self.messages and before - self.messages < most:
            block = self.block_of(self.first)
            if block.last_time < time:
                self.truncate_before(
                    min(block.first + block.count, self.last + 1, self.first + most - (before - self.messages)))
            elif self.record(block, <uint32_t> (self.first - block.first)).time < time:
                self.remove(self.first)
            else:
                break
        return before - self.messages

    # Messages are looked for

    def get(self, uint64_t sequence):
        """The message with a sequence, or None."""
        cdef Block block = self.block_of(sequence)
        if block is None:
            return None
        return entry_of(self.record(block, <uint32_t> (sequence - block.first)))

    def has(self, uint64_t sequence):
        """Whether there is a message with a sequence."""
        return self.block_of(sequence) is not None

    def time_of(self, uint64_t sequence):
        """When a message was stored, 0 where there is none."""
        cdef Block block = self.block_of(sequence)
        return 0 if block is None else self.record(block, <uint32_t> (sequence - block.first)).time

    @property
    def first_time(self):
        """When the first message was stored, 0 when there is none."""
        return self.time_of(self.first) if self.messages else 0

    cdef int tighten_first(self, Topic *topic, uint32_t number) except -1:
        cdef Py_ssize_t at
        cdef uint32_t index
        cdef Block block
        if not topic.first_loose:
            return 0
        topic.first = max(topic.first, self.first)
        at = self.place_of(topic.first)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            index = 0 if topic.first <= block.first else <uint32_t> (topic.first - block.first)
            while index < block.count:
                if block.topics[index] == number and block.offsets[index] != GONE:
                    topic.first = block.first + index
                    topic.first_loose = False
                    return 0
                index += 1
            at += 1
        return 0

    cdef int tighten_last(self, Topic *topic, uint32_t number) except -1:
        cdef Py_ssize_t at
        cdef int64_t index
        cdef Block block
        if not topic.last_loose:
            return 0
        at = min(self.place_of(topic.last), len(self.blocks) - 1)
        while at >= 0:
            block = <Block> self.blocks[at]
            index = block.count - 1
            if topic.last >= block.first and topic.last < block.first + block.count:
                index = <int64_t> (topic.last - block.first)
            if block.first <= topic.last:
                while index >= 0:
                    if block.topics[index] == number and block.offsets[index] != GONE:
                        topic.last = block.first + index
                        topic.last_loose = False
                        return 0
                    index -= 1
            at -= 1
        return 0

    def find(self, bytes subject not None):
        """How many messages a subject has, its first and last sequence; None for none."""
        cdef uint32_t number = self.topic_of(PyBytes_AS_STRING(subject), PyBytes_GET_SIZE(subject), False)
        cdef Topic *topic
        if number == NO_TOPIC or self.topic_table[number].count == 0:
            return None
        topic = self.topic_table + number
        self.tighten_first(topic, number)
        self.tighten_last(topic, number)
        return topic.count, topic.first, topic.last

    def counts(self, Filter wanted not None):
        """How many messages each subject has that the filter wants."""
        cdef uint32_t number
        cdef Topic *topic
        cdef dict made = {}
        for number in range(self.topic_count):
            topic = self.topic_table + number
            if topic.count and wanted.passes(self, number):
                made[PyBytes_FromStringAndSize(topic.text, topic.length)] = topic.count
        return made

    def counts_of(self, Filter wanted not None, uint32_t number, Py_ssize_t most):
        """As `counts`, of at most so many subjects from the one with a number on; and with which to go on, 0 at the end.

        The numbers are those of an `epoch`.
        """
        cdef Topic *topic
        cdef dict made = {}
        cdef uint32_t stop = min(self.topic_count, number + <uint32_t> most)
        while number < stop:
            topic = self.topic_table + number
            if topic.count and wanted.passes(self, number):
                made[PyBytes_FromStringAndSize(topic.text, topic.length)] = topic.count
            number += 1
        return made, (0 if number >= self.topic_count else number)

    def lasts(self, Filter wanted not None):
        """The last sequence of each subject that the filter wants, in order."""
        cdef uint32_t number
        cdef Topic *topic
        cdef list made = []
        for number in range(self.topic_count):
            topic = self.topic_table + number
            if topic.count and wanted.passes(self, number):
                self.tighten_last(topic, number)
                made.append(topic.last)
        made.sort()
        return made

    def seen(self, Filter wanted not None):
        """Subject, number of messages, first and last sequence of each subject that the filter wants."""
        cdef uint32_t number
        cdef Topic *topic
        cdef list made = []
        for number in range(self.topic_count):
            topic = self.topic_table + number
            if topic.count and wanted.passes(self, number):
                self.tighten_first(topic, number)
                self.tighten_last(topic, number)
                made.append((PyBytes_FromStringAndSize(topic.text, topic.length), topic.count, topic.first, topic.last))
        return made

    cdef uint64_t scan(self, Filter filter, uint64_t start, uint64_t stop) except? 0xFFFFFFFFFFFFFFFF:
        """The first sequence from start to stop whose message passes; 0 for none."""
        cdef Py_ssize_t at
        cdef uint32_t index
        cdef Block block
        cdef bint every = filter.patterns is None
        start = max(start, self.first)
        if self.messages == 0 or start > stop:
            return 0
        at = self.place_of(start)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            if block.first > stop:
                return 0
            if block.live:
                index = 0 if start <= block.first else <uint32_t> (start - block.first)
                while index < block.count:
                    if block.offsets[index] != GONE and (every or filter.passes(self, block.topics[index])):
                        return block.first + index if block.first + index <= stop else 0
                    index += 1
            at += 1
        return 0

    cdef uint64_t scan_back(self, Filter filter, uint64_t start) except? 0xFFFFFFFFFFFFFFFF:
        """The last sequence at or below start whose message passes; 0 for none."""
        cdef Py_ssize_t at
        cdef int64_t index
        cdef Block block
        cdef bint every = filter.patterns is None
        start = min(start, self.last)
        if self.messages == 0 or start < self.first:
            return 0
        at = min(self.place_of(start), len(self.blocks) - 1)
        while at >= 0:
            block = <Block> self.blocks[at]
            if block.live and block.first <= start:
                index = block.count - 1
                if start < block.first + block.count:
                    index = <int64_t> (start - block.first)
                while index >= 0:
                    if block.offsets[index] != GONE and (every or filter.passes(self, block.topics[index])):
                        return block.first + index
                    index -= 1
            at -= 1
        return 0

    cdef uint64_t tally(self, Filter filter, uint64_t start, uint64_t stop) except? 0xFFFFFFFFFFFFFFFF:
        """How many messages from start to stop pass."""
        cdef Py_ssize_t at
        cdef uint32_t index, end
        cdef uint64_t found = 0
        cdef Block block
        cdef bint every = filter.patterns is None
        start = max(start, self.first)
        if self.messages == 0 or start > stop:
            return 0
        if every and start <= self.first and stop >= self.last:
            return self.messages
        at = self.place_of(start)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            if block.first > stop:
                break
            if block.live:
                index = 0 if start <= block.first else <uint32_t> (start - block.first)
                end = block.count if stop >= block.first + block.count else <uint32_t> (stop - block.first) + 1
                if every and index == 0 and end == block.count:
                    found += block.live
                else:
                    while index < end:
                        if block.offsets[index] != GONE and (every or filter.passes(self, block.topics[index])):
                            found += 1
                        index += 1
            at += 1
        return found

    def next(self, Filter wanted not None, uint64_t start):
        """The first sequence at or above `start` whose message passes the filter; 0 for none."""
        return self.scan(wanted, start, self.last)

    def previous(self, Filter wanted not None, uint64_t start):
        """The last sequence at or below `start` whose message passes the filter; 0 for none."""
        return self.scan_back(wanted, start)

    def remaining(self, Filter wanted not None, uint64_t start):
        """How many messages at or above `start` pass the filter."""
        return self.tally(wanted, start, self.last)

    def headed(self, uint64_t start):
        """The first sequence at or above `start` whose message has a header; 0 for none.

        Blocks in which no message came with one are not read.
        """
        cdef Py_ssize_t at
        cdef uint32_t index
        cdef Block block
        start = max(start, self.first)
        if self.messages == 0 or start > self.last:
            return 0
        at = self.place_of(start)
        while at < len(self.blocks):
            block = <Block> self.blocks[at]
            if block.live and block.headed:
                index = 0 if start <= block.first else <uint32_t> (start - block.first)
                while index < block.count:
                    if block.offsets[index] != GONE and self.record(block, index).header != NO_HEADER:
                        return block.first + index
                    index += 1
            at += 1
        return 0

    def at_time(self, int64_t time):
        """The first sequence whose message was stored at a time or later; last + 1 where there is none."""
        cdef Py_ssize_t at
        cdef uint32_t index
        cdef Block block
        for at in range(len(self.blocks)):
            block = <Block> self.blocks[at]
            if block.live and block.last_time >= time:
                for index in range(block.count):
                    if block.offsets[index] != GONE and self.record(block, index).time >= time:
                        return block.first + index
        return self.last + 1

    def gaps(self):
        """The ranges of sequences between first and last that have no message."""
        cdef Block block
        cdef uint32_t index
        cdef uint64_t expected = self.first, sequence
        cdef list made = []
        if self.messages == 0:
            return made
        for block in self.blocks:
            if block.live == 0:
                continue
            for index in range(block.count):
                if block.offsets[index] == GONE:
                    continue
                sequence = block.first + index
                if sequence > expected:
                    made.append((expected, sequence - 1))
                expected = sequence + 1
        if self.last >= expected:
            made.append((expected, self.last))
        return made

    @property
    def deleted(self):
        """How many sequences between first and last have no message."""
        return self.last - self.first + 1 - self.messages if self.messages else 0

    # The store

    @property
    def dirty(self):
        """Whether the store does not have all as it is."""
        return self.moved or bool(self.changed)

    def take_changes(self, bint erase=False):
        """What the store must write or delete, a list of (table, sequence, bytes or None), to have all as it is.

        The tables are RECORDS, INDEX and GAPS. Blocks without messages go. With `erase`, removed messages are overwritten;
        else only when they are more than half of their block.
        """
        cdef list changes = []
        cdef Block block
        cdef list blocks
        cdef bint emptied = False
        for block in self.changed:
            block.listed = False
            if block.live == 0 and block.holders == 0:
                emptied = True
                self.forget(block, changes)
            elif block.live or block.pieces is not None:
                self.write(block, changes, erase)
        self.changed = []
        self.moved = False
        if emptied:
            blocks = []
            for block in self.blocks:
                if block.live or block.holders:
                    blocks.append(block)
                elif block.data != NULL:
                    self.held -= block.used
            self.blocks = blocks
        return changes

    cdef int forget(self, Block block, list changes) except -1:
        if block.pieces is None:
            return 0
        for sequence in block.pieces:
            changes.append((RECORDS, sequence, None))
        changes.append((INDEX, block.first, None))
        changes.append((GAPS, block.first, None))
        block.pieces = None
        return 0

    cdef int write(self, Block block, list changes, bint erase) except -1:
        cdef bint whole
        cdef uint64_t sequence
        block.wiped = block.wiped or (erase and block.thinned)
        whole = block.thinned and block.holders == 0 and (block.wiped or block.live_bytes < block.used // 2)
        if block.holders and block.skipped:
            # What went before it was written is written all the same, with what says that it is gone.
            block.thinned = True
            block.skipped = False
        if block.full and block.pieces is not None and (len(block.pieces) > 1 or block.count > block.kept):
            whole = True
        if block.pieces is None or whole:
            if block.data == NULL:
                self.bring(block)
            if block.holders == 0:
                if block.live_bytes < block.used:
                    self.squeeze(block, 0, 0)
                block.wiped = False
            for sequence in block.pieces or ():
                if sequence != block.first:
                    changes.append((RECORDS, sequence, None))
            changes.append((RECORDS, block.first, PyBytes_FromStringAndSize(block.data, block.used)))
            if block.live_bytes < block.used:
                changes.append((GAPS, block.first, self.bitmap(block)))
            elif block.pieces is not None:
                changes.append((GAPS, block.first, None))
            block.pieces = [block.first]
            if block.full:
                changes.append((INDEX, block.first, self.index(block)))
        else:
            if block.skipped:
                self.squeeze(block, block.kept, block.kept_bytes)
            if block.count > block.kept:
                sequence = block.first + block.kept
                changes.append((RECORDS, sequence, PyBytes_FromStringAndSize(
                    block.data + block.kept_bytes, block.used - block.kept_bytes)))
                block.pieces.append(sequence)
            if block.full:
                changes.append((INDEX, block.first, self.index(block)))
            if block.thinned:
                changes.append((GAPS, block.first, self.bitmap(block)))
        block.kept = block.count
        block.kept_bytes = block.used
        block.thinned = block.skipped = False
        return 0

    cdef int squeeze(self, Block block, uint32_t place, uint32_t at) except -1:
        """Closes the ranks of a block's records from a place on, which begins at the byte `at`."""
        cdef uint32_t index
        cdef Record *record
        for index in range(place, block.count):
            if block.offsets[index] != GONE:
                record = <Record *> (block.data + block.offsets[index])
                if block.offsets[index] != at:
                    block.offsets[index] = at
                    memmove(block.data + at, record, record.size)
                    record = <Record *> (block.data + at)
                at += record.size
        self.held -= block.used - at
        block.used = at
        return 0

    cdef bytes bitmap(self, Block block):
        """What is left of a block: what it counts, bytes of its records, and a bit for each place without a message."""
        cdef bytearray made = bytearray(8 + (block.count + 7) // 8)
        cdef unsigned char *bits = made
        cdef uint32_t index
        memcpy(bits, &block.worth, 4)
        memcpy(bits + 4, &block.live_bytes, 4)
        bits += 8
        for index in range(block.count):
            if block.offsets[index] == GONE:
                bits[index >> 3] |= <unsigned char> (1 << (index & 7))
        return bytes(made)

    cdef bytes index(self, Block block):
        """The columns of a full block: counts, times, offsets, subjects by number, and the subjects."""
        cdef dict numbers = {}
        cdef list texts = []
        cdef uint32_t index
        cdef Topic *topic
        cdef uint32_t[6] counts
        cdef int64_t[2] times
        cdef bytearray column = bytearray(block.count * 4)
        cdef uint32_t *local = <uint32_t *> <char *> column
        counts[0] = block.count
        counts[1] = block.used
        times[0] = block.first_time
        times[1] = block.last_time
        for index in range(block.count):
            if block.offsets[index] == GONE:
                local[index] = GONE
                continue
            number = numbers.get(block.topics[index])
            if number is None:
                number = len(texts) // 2
                numbers[block.topics[index]] = number
                topic = self.topic_table + block.topics[index]
                texts.append(topic.length.to_bytes(4, "little"))
                texts.append(PyBytes_FromStringAndSize(topic.text, topic.length))
            local[index] = number
        counts[2] = <uint32_t> (len(texts) // 2)
        counts[3] = block.worth
        counts[4] = block.live_bytes
        counts[5] = block.headed
        return b"".join([
            PyBytes_FromStringAndSize(<char *> counts, 24), PyBytes_FromStringAndSize(<char *> times, 16),
            PyBytes_FromStringAndSize(<char *> block.offsets, block.count * 4), bytes(column), *texts])

    def reset(self):
        """Forgets everything, to be loaded anew; the maxima and the cursors stay, and the cursors count anew."""
        cdef Cursor cursor
        cdef Picture picture
        for picture in self.pictures:
            picture.broken = True
        self.pictures = []
        self.free_topics()
        self.topic_table = NULL
        self.buckets = NULL
        self.bucket_mask = 0
        self.topic_count = self.topic_room = self.subjects = 0
        self.epoch += 1
        self.count(-<int64_t> self.bytes)
        self.first = self.last = self.messages = self.durable = self.held = 0
        self.losing = False
        self.last_time = 0
        self.blocks = []
        self.changed = []
        self.resident.clear()
        self.moved = False
        for cursor in self.cursors:
            cursor.seek(cursor.position)

    def restore(self, uint64_t first, uint64_t last, int64_t last_time):
        """Begins to load what the store has: the bounds first, then its blocks in order, then `restored`."""
        self.first = first
        self.last = last
        self.last_time = last_time
        self.moved = False
        self.loading = True

    def load_index(self, uint64_t first, bytes index not None, bytes gaps):
        """Loads the columns of a full block; its records stay in the store."""
        cdef Block block = Block(first)
        cdef const char *at = PyBytes_AS_STRING(index)
        cdef size_t length = PyBytes_GET_SIZE(index), width
        cdef const uint32_t *counts = <const uint32_t *> at
        cdef const uint32_t *offsets
        cdef const uint32_t *local
        cdef const char *stop = at + length
        cdef uint32_t *numbers
        cdef uint32_t place, count, distinct, size
        if length < 40:
            raise RecordError(f"the index of sequence {first} is too short")
        count = counts[0]
        distinct = counts[2]
        if length < 40 + <size_t> count * 8 + <size_t> distinct * 4:
            raise RecordError(f"the index of sequence {first} is too short")
        block.widen(count)
        block.count = block.kept = count
        block.used = block.kept_bytes = counts[1]
        block.worth = counts[3]
        block.live_bytes = counts[4]
        block.headed = counts[5] != 0
        memcpy(&block.first_time, at + 24, 8)
        memcpy(&block.last_time, at + 32, 8)
        offsets = <const uint32_t *> (at + 40)
        local = offsets + count
        at += 40 + <size_t> count * 8
        numbers = <uint32_t *> malloc(max(distinct, 1) * sizeof(uint32_t))
        if numbers == NULL:
            raise MemoryError()
        try:
            for place in range(distinct):
                if stop - at < 4:
                    raise RecordError(f"the index of sequence {first} is too short")
                memcpy(&size, at, 4)
                if <size_t> (stop - at - 4) < size:
                    raise RecordError(f"the index of sequence {first} is too short")
                numbers[place] = self.topic_of(at + 4, size, True)
                at += 4 + size
            for place in range(count):
                block.offsets[place] = GONE
                if local[place] == GONE:
                    continue
                if local[place] >= distinct or offsets[place] + sizeof(Record) > block.used:
                    raise RecordError(f"the index of sequence {first + place} points nowhere")
                block.topics[place] = numbers[local[place]]
                if is_gap(gaps, place):
                    continue
                block.offsets[place] = offsets[place]
                self.met(numbers[local[place]], first + place)
                block.live += 1
        finally:
            free(numbers)
        if gaps is not None and PyBytes_GET_SIZE(gaps) >= 8:
            memcpy(&block.worth, PyBytes_AS_STRING(gaps), 4)
            memcpy(&block.live_bytes, PyBytes_AS_STRING(gaps) + 4, 4)
        self.count(block.worth)
        block.pieces = [first]
        block.full = True
        self.blocks.append(block)

    def load_piece(self, uint64_t first, bytes records not None, bytes gaps, bint begins):
        """Loads records that no index stands for. `begins` a block, or belongs to the one that was loaded last.

        `gaps` are those of the block.
        """
        cdef Block block
        cdef const char *data = PyBytes_AS_STRING(records)
        cdef size_t length = PyBytes_GET_SIZE(records), at = 0
        cdef Record *record
        cdef uint32_t place, head
        cdef uint64_t worth
        if begins:
            block = Block(first)
            block.pieces = []
            self.blocks.append(block)
        else:
            block = <Block> self.blocks[len(self.blocks) - 1]
        block.make_room(length)
        memcpy(block.data + block.used, data, length)
        while at < length:
            record = <Record *> (block.data + block.used)
            head = 0 if at + sizeof(Record) > length or record.header == NO_HEADER else record.header
            if (at + sizeof(Record) > length or record.size > length - at
                    or sizeof(Record) + <size_t> record.subject + head > record.size
                    or record.sequence < block.first + block.count
                    or record.sequence - block.first >= BLOCK_PLACES):
                raise RecordError(f"the records from sequence {first} on are damaged")
            place = <uint32_t> (record.sequence - block.first)
            block.widen(place + 1)
            while block.count < place:
                block.offsets[block.count] = GONE
                block.topics[block.count] = NO_TOPIC
                block.count += 1
            block.offsets[place] = GONE
            block.topics[place] = self.topic_of(<const char *> record + sizeof(Record), record.subject, True)
            block.count = place + 1
            if not is_gap(gaps, place):
                block.offsets[place] = block.used
                block.headed |= record.header != NO_HEADER
                block.live += 1
                block.live_bytes += record.size
                worth = self.counted(
                    record.subject, -1 if record.header == NO_HEADER else <Py_ssize_t> record.header,
                    record.size - sizeof(Record) - record.subject - head)
                block.worth += <uint32_t> worth
                self.count(<int64_t> worth)
                if block.live == 1:
                    block.first_time = record.time
                block.last_time = record.time
                self.met(block.topics[place], record.sequence)
            block.used += record.size
            at += record.size
        self.held += length
        block.pieces.append(first)
        block.kept = block.count
        block.kept_bytes = block.used

    cdef int met(self, uint32_t number, uint64_t sequence) except -1:
        cdef Topic *topic = self.topic_table + number
        if topic.count == 0:
            self.subjects += 1
            topic.first = sequence
        topic.count += 1
        topic.last = sequence
        self.messages += 1
        return 0

    def restored(self):
        """Ends the loading."""
        cdef Block block
        self.loading = False
        self.durable = self.last
        for block in self.blocks:
            if block.live == 0:
                self.mark(block)
        if self.messages:
            self.settle_first()
        self.moved = False

    def shed(self, uint64_t keep):
        """Lets go of records that the store has, the oldest first, until `keep` bytes are in memory."""
        self.let_go(keep, 0)


cdef inline bint is_gap(bytes gaps, uint32_t place):
    cdef const unsigned char *bits
    if gaps is None or (place >> 3) + 8 >= <size_t> PyBytes_GET_SIZE(gaps):
        return False
    bits = <const unsigned char *> PyBytes_AS_STRING(gaps) + 8
    return bits[place >> 3] >> (place & 7) & 1
