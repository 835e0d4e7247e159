"""Which patterns match a subject: a trie whose literal edges share one hash table.

A subject with an empty token matches nothing. Wildcards in a published subject are plain tokens, so they match
wildcard patterns only. The walk keeps its own stack: a subject with very many tokens costs heap, never C stack.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy

import secrets

# Each extension module has its own copy of the key; hashes never cross from one module to another.
natskeep_set_hash_key(secrets.randbits(64))

cdef struct Token:
    const char *text
    size_t length
    uint64_t hash
    bint hashed

cdef struct Frame:
    Node *node
    size_t index

# The scratch memory of the walk. It is shared, since the core runs in one thread and never re-enters itself.
cdef Token *scratch_tokens = NULL
cdef size_t scratch_token_capacity = 0
cdef Frame *scratch_frames = NULL
cdef size_t scratch_frame_capacity = 0


cdef int add_hits(Hits *hits, Node *node) except -1:
    cdef size_t wanted = hits.count + node.count
    cdef PyObject **larger
    if wanted > hits.capacity:
        wanted = wanted * 2 + 16
        larger = <PyObject **> realloc(hits.items, wanted * sizeof(PyObject *))
        if larger == NULL:
            raise MemoryError()
        hits.items = larger
        hits.capacity = wanted
    memcpy(hits.items + hits.count, node.values, node.count * sizeof(PyObject *))
    hits.count += node.count
    return 0


cdef Py_ssize_t split(const char *subject, size_t length) except -2:
    """Fills scratch_tokens; the number of tokens, or -1 when one of them is empty."""
    global scratch_tokens, scratch_token_capacity
    cdef size_t count = 0, start = 0, stop
    cdef const char *dot
    cdef Token *larger
    if length == 0:
        return -1
    while True:
        dot = <const char *> memchr(subject + start, b'.', length - start)
        stop = length if dot == NULL else <size_t> (dot - subject)
        if stop == start:
            return -1
        if count == scratch_token_capacity:
            larger = <Token *> realloc(scratch_tokens, (count * 2 + 64) * sizeof(Token))
            if larger == NULL:
                raise MemoryError()
            scratch_tokens = larger
            scratch_token_capacity = count * 2 + 64
        scratch_tokens[count].text = subject + start
        scratch_tokens[count].length = stop - start
        scratch_tokens[count].hashed = False
        count += 1
        if dot == NULL:
            return count
        start = stop + 1
        if start == length:
            return -1


cdef Node *new_node(Node *parent, const char *token, size_t length, uint64_t hash) except NULL:
    cdef Node *node = <Node *> calloc(1, sizeof(Node) + length)
    if node == NULL:
        raise MemoryError()
    node.parent = parent
    node.length = <uint32_t> length
    node.hash = hash
    memcpy(node.token, token, length)
    return node


cdef inline uint64_t edge_hash(Node *parent, uint64_t token_hash) noexcept:
    return natskeep_fold(token_hash ^ <uint64_t> <size_t> parent, 0x9E3779B97F4A7C15)


cdef void free_value(PyObject **values, uint32_t count) noexcept:
    cdef uint32_t index
    for index in range(count):
        Py_DECREF(<object> values[index])
    free(values)


cdef class Entry:
    """A value that knows its place, so that it is removed without a search through its pattern's other values."""


cdef class Sublist:
    """A multiset of (pattern, value) pairs that answers which values' patterns match a subject."""

    def __cinit__(self):
        self.root = new_node(NULL, b"", 0, 0)
        self.edges = NULL
        self.mask = 0
        self.edge_count = 0
        self.size = 0

    def __dealloc__(self):
        cdef size_t place
        if self.edges != NULL:
            for place in range(self.mask + 1):
                if self.edges[place].child != NULL:
                    self.free_special(self.edges[place].child)
                    free_value(self.edges[place].child.values, self.edges[place].child.count)
                    free(self.edges[place].child)
            free(self.edges)
        if self.root != NULL:
            self.free_special(self.root)
            free(self.root)

    cdef void free_special(self, Node *node) noexcept:
        """Frees the chain of wildcard children below node; literal children are freed from the edge table."""
        cdef Node *star = node.star
        cdef Node *following
        if node.full != NULL:
            free_value(node.full.values, node.full.count)
            free(node.full)
            node.full = NULL
        node.star = NULL
        while star != NULL:
            following = star.star
            if star.full != NULL:
                free_value(star.full.values, star.full.count)
                free(star.full)
            free_value(star.values, star.count)
            free(star)
            star = following

    cdef Node *child(self, Node *parent, const char *token, size_t length, uint64_t hash) noexcept:
        cdef size_t place
        cdef Edge *edge
        if self.edges == NULL:
            return NULL
        place = <size_t> hash & self.mask
        while True:
            edge = &self.edges[place]
            if edge.child == NULL:
                return NULL
            if (edge.hash == hash and edge.child.parent == parent and edge.child.length == length
                    and memcmp(edge.child.token, token, length) == 0):
                return edge.child
            place = (place + 1) & self.mask

    cdef int add_edge(self, Node *child) except -1:
        cdef size_t places, place, index
        cdef Edge *old
        cdef Edge *table
        if self.edges == NULL or self.edge_count * 5 >= (self.mask + 1) * 3:
            places = 8 if self.edges == NULL else (self.mask + 1) * 2
            table = <Edge *> calloc(places, sizeof(Edge))
            if table == NULL:
                raise MemoryError()
            old = self.edges
            if old != NULL:
                for index in range(self.mask + 1):
                    if old[index].child != NULL:
                        place = <size_t> old[index].hash & (places - 1)
                        while table[place].child != NULL:
                            place = (place + 1) & (places - 1)
                        table[place] = old[index]
                free(old)
            self.edges = table
            self.mask = places - 1
        place = <size_t> child.hash & self.mask
        while self.edges[place].child != NULL:
            place = (place + 1) & self.mask
        self.edges[place].hash = child.hash
        self.edges[place].child = child
        self.edge_count += 1
        return 0

    cdef void remove_edge(self, Node *child) noexcept:
        cdef size_t place = <size_t> child.hash & self.mask
        cdef size_t hole, home
        while self.edges[place].child != child:
            place = (place + 1) & self.mask
        self.edge_count -= 1
        # Entries behind the hole move up, so that no search ends before its entry.
        hole = place
        while True:
            place = (place + 1) & self.mask
            if self.edges[place].child == NULL:
                break
            home = <size_t> self.edges[place].hash & self.mask
            if ((place - home) & self.mask) >= ((place - hole) & self.mask):
                self.edges[hole] = self.edges[place]
                hole = place
        self.edges[hole].child = NULL

    cdef Node *walk(self, bytes subject, bint create) except? NULL:
        """The node of a pattern. Without create: NULL when it is not there."""
        cdef const char *text = subject
        cdef size_t length = len(subject)
        cdef size_t start = 0, stop
        cdef const char *dot
        cdef Node *node = self.root
        cdef Node *following
        cdef uint64_t hash
        while True:
            dot = <const char *> memchr(text + start, b'.', length - start)
            stop = length if dot == NULL else <size_t> (dot - text)
            if stop - start == 1 and text[start] == b'*':
                if node.star == NULL:
                    if not create:
                        return NULL
                    node.star = new_node(node, b"*", 1, 0)
                node = node.star
            elif stop - start == 1 and text[start] == b'>' and dot == NULL:
                if node.full == NULL:
                    if not create:
                        return NULL
                    node.full = new_node(node, b">", 1, 0)
                node = node.full
            else:
                hash = edge_hash(node, natskeep_hash(text + start, stop - start))
                following = self.child(node, text + start, stop - start, hash)
                if following == NULL:
                    if not create:
                        return NULL
                    following = new_node(node, text + start, stop - start, hash)
                    self.add_edge(following)
                    node.edges += 1
                node = following
            if dot == NULL:
                return node
            start = stop + 1

    cdef void prune(self, Node *node) noexcept:
        """Frees node and its ancestors as far as nothing hangs on them."""
        cdef Node *parent
        while (node.parent != NULL and node.count == 0 and node.edges == 0
               and node.star == NULL and node.full == NULL):
            parent = node.parent
            if parent.star == node:
                parent.star = NULL
            elif parent.full == node:
                parent.full = NULL
            else:
                self.remove_edge(node)
                parent.edges -= 1
            free(node.values)
            free(node)
            node = parent

    def insert(self, bytes subject not None, value):
        """Adds value under a valid pattern (control checks validity; an empty token is an ordinary one here)."""
        cdef Node *node = self.walk(subject, True)
        cdef PyObject **larger
        cdef uint32_t wanted
        if node.count == node.capacity:
            wanted = 1 if node.capacity == 0 else node.capacity * 2
            larger = <PyObject **> realloc(node.values, wanted * sizeof(PyObject *))
            if larger == NULL:
                self.prune(node)
                raise MemoryError()
            node.values = larger
            node.capacity = wanted
        Py_INCREF(value)
        if isinstance(value, Entry):
            (<Entry> value).place = node.count
        node.values[node.count] = <PyObject *> value
        node.count += 1
        self.size += 1

    def remove(self, bytes subject not None, value):
        """Takes value out from under the pattern. Returns whether it was there."""
        cdef Node *node = self.walk(subject, False)
        cdef uint32_t index = 0
        if node == NULL:
            return False
        if isinstance(value, Entry) and (<Entry> value).place < node.count:
            index = (<Entry> value).place
        # The place is a hint: an entry that stands under two patterns knows the later one only.
        if node.count and node.values[index] != <PyObject *> value:
            index = 0
            while index < node.count and node.values[index] != <PyObject *> value:
                index += 1
        if index == node.count:
            return False
        node.count -= 1
        node.values[index] = node.values[node.count]
        if index < node.count and isinstance(<object> node.values[index], Entry):
            (<Entry> node.values[index]).place = index
        self.size -= 1
        if node.count == 0:
            self.prune(node)
        Py_DECREF(value)
        return True

    cdef int collect(self, const char *subject, size_t length, Hits *hits) except -1:
        """Appends to hits the values of all patterns that match the subject."""
        global scratch_frames, scratch_frame_capacity
        cdef Py_ssize_t tokens = split(subject, length)
        cdef size_t count, depth = 1, index
        cdef Node *node
        cdef Node *following
        cdef Token *token
        cdef Frame *larger
        if tokens < 0:
            return 0
        count = <size_t> tokens
        if scratch_frame_capacity < count + 2:
            # Each frame leaves at most one sibling behind while the walk goes deeper.
            larger = <Frame *> realloc(scratch_frames, (count + 66) * sizeof(Frame))
            if larger == NULL:
                raise MemoryError()
            scratch_frames = larger
            scratch_frame_capacity = count + 66
        scratch_frames[0].node = self.root
        scratch_frames[0].index = 0
        while depth > 0:
            depth -= 1
            node = scratch_frames[depth].node
            index = scratch_frames[depth].index
            if index == count:
                if node.count:
                    add_hits(hits, node)
                continue
            if node.full != NULL:
                add_hits(hits, node.full)
            if node.star != NULL:
                scratch_frames[depth].node = node.star
                scratch_frames[depth].index = index + 1
                depth += 1
            if node.edges:
                token = &scratch_tokens[index]
                if not token.hashed:
                    token.hash = natskeep_hash(token.text, token.length)
                    token.hashed = True
                following = self.child(node, token.text, token.length, edge_hash(node, token.hash))
                if following != NULL:
                    scratch_frames[depth].node = following
                    scratch_frames[depth].index = index + 1
                    depth += 1
        return 0

    cdef bint matches(self, const char *subject, size_t length) except -1:
        """Whether any pattern matches the subject."""
        cdef Hits hits
        hits.items = NULL
        hits.count = hits.capacity = 0
        if self.size == 0:
            return False
        try:
            self.collect(subject, length, &hits)
            return hits.count > 0
        finally:
            free(hits.items)

    def match(self, bytes subject not None):
        """The values of all patterns that match the subject, in no particular order."""
        cdef Hits hits
        cdef size_t index
        hits.items = NULL
        hits.count = hits.capacity = 0
        try:
            self.collect(subject, len(subject), &hits)
            return [<object> hits.items[index] for index in range(hits.count)]
        finally:
            free(hits.items)

    def __len__(self):
        return self.size
