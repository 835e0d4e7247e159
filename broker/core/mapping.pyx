"""Mappings: which other subject a message goes to, as far as that can be known when its plan is made, and by chance."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from broker.core.sublist cimport Hits, Sublist
from broker.core.transform cimport Transform

# Scratch memory of the search, shared since the core runs in one thread and never re-enters itself.
cdef Hits scratch_hits
scratch_hits.items = NULL
scratch_hits.count = scratch_hits.capacity = 0


cdef class Mapping:
    """Where messages on the subjects of one source go: shares up to ceilings, each with a transform.

    `shares` are pairs of a ceiling, 1 to 100 and rising, and a Transform, or None where that share is dropped. What lies
    above the last ceiling keeps its subject. `rank` orders mappings: the smallest that matches counts.
    """

    def __init__(self, size_t rank, bint rest, shares):
        self.rank = rank
        self.rest = rest
        self.ceilings = tuple([ceiling for ceiling, _ in shares])
        self.transforms = tuple([transform for _, transform in shares])

    cdef object resolve(self, const char *subject, size_t length):
        """What the mapping comes to for one subject: another subject, or Choices."""
        cdef Transform transform
        cdef list results = []
        cdef bytes result
        for transform in self.transforms:
            if transform is None or transform.chancy:
                results.append(transform)
            else:
                result = transform.apply(subject, length, None)
                results.append(result)
                if result is not None and len(results) == 1 and self.ceilings[0] >= 100:
                    return result
        return Choices(self.ceilings, tuple(results))


cdef class Mappings:
    """All mappings of a namespace. A message is mapped once, by the one of smallest rank whose source matches."""

    def __init__(self, mappings):
        cdef Sublist made = Sublist()
        for source, mapping in mappings:
            if not isinstance(mapping, Mapping):
                raise TypeError("not a mapping")
            made.insert(source, mapping)
        self.sources = made

    cdef Mapping find(self, const char *subject, size_t length):
        cdef Mapping best = None
        cdef Mapping found
        cdef size_t index
        # A final > in a published subject is matched by a > alone.
        cdef bint open_end = length > 0 and subject[length - 1] == b">" and (length == 1 or subject[length - 2] == b".")
        scratch_hits.count = 0
        self.sources.collect(subject, length, &scratch_hits)
        for index in range(scratch_hits.count):
            found = <Mapping> scratch_hits.items[index]
            if (best is None or found.rank < best.rank) and (found.rest or not open_end):
                best = found
        return best


cdef class Choices:
    """What a mapping leaves to chance for one subject."""

    def __init__(self, tuple ceilings not None, tuple results not None):
        self.ceilings = ceilings
        self.results = results

    cdef bytes choose(self, const char *subject, size_t length, Hub hub):
        """The subject for one message, or None when it is dropped."""
        cdef int roll = <int> (hub.random() % 100)
        cdef Py_ssize_t index
        cdef object result
        for index in range(len(self.ceilings)):
            if roll < <int> self.ceilings[index]:
                result = self.results[index]
                if isinstance(result, Transform):
                    return (<Transform> result).apply(subject, length, hub)
                return <bytes> result
        return PyBytes_FromStringAndSize(subject, length)
