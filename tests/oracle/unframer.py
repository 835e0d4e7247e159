"""What frames hold, and what is wrong with them: the plain twin of broker.core.unframer, one byte after the other."""

from __future__ import annotations

from dataclasses import dataclass, field

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


@dataclass
class Unframer:
    """Takes frames apart; `found` holds ("data", bytes), ("control", opcode, bytes), ("deflated", bytes), or, as the
    last, ("violation", text) or ("too big",)."""

    masked: bool = True
    deflate: bool = False
    maximum: int = 1 << 20
    found: list[tuple[object, ...]] = field(default_factory=list)
    _frame: bytearray = field(default_factory=bytearray)
    _message: bytearray = field(default_factory=bytearray)
    _is_open: bool = False
    _is_compressed: bool = False
    ended: bool = False

    def feed(self, data: bytes) -> None:
        for one in data:
            if self.ended:
                return
            self._frame.append(one)
            self._look()

    def _end(self, *what: object) -> None:
        self.found.append(what)
        self.ended = True

    def _look(self) -> None:
        frame = self._frame
        first, opcode = frame[0], frame[0] & 0x0F
        final, rsv1 = bool(first & 0x80), bool(first & 0x40)
        if len(frame) == 1:
            if first & 0x30:
                self._end("violation", "RSV2 and RSV3 must be clear")
            elif rsv1 and not self.deflate:
                self._end("violation", "compressed frame received without negotiated permessage-deflate")
            elif opcode == CONTINUATION and (not self._is_open or rsv1):
                self._end("violation", "invalid continuation frame")
            elif opcode in (TEXT, BINARY) and self._is_open:
                self._end("violation", "new message started before final frame for previous message was received")
            elif opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
                self._end("violation", f"unknown opcode {opcode}")
            return
        has_mask, size = bool(frame[1] & 0x80), frame[1] & 0x7F
        if len(frame) == 2:
            if self.masked and not has_mask:
                self._end("violation", "mask bit missing")
                return
            if opcode >= CLOSE:
                problem = (
                    "control frame length bigger than maximum allowed of 125 bytes" if size > 125
                    else "" if final else "control frame does not have final bit set"
                )
                problem = problem or ("control frame must not be compressed" if rsv1 else "")
                if problem:
                    self._end("violation", problem)
                    return
        extra = {126: 2, 127: 8}.get(size, 0)
        if len(frame) < 2 + extra:
            return
        if extra:
            size = int.from_bytes(frame[2 : 2 + extra], "big")
        if size >= 1 << 63:
            self._end("violation", "invalid 64-bit payload length")
            return
        start = 2 + extra + (4 if has_mask else 0)
        if len(frame) < start:
            return
        key = frame[start - 4 : start] if has_mask else bytes(4)
        done = len(frame) - start
        if len(frame) == start:
            if opcode < CLOSE:
                self._is_open = not final
                if opcode != CONTINUATION:
                    self._is_compressed = rsv1
        elif opcode < CLOSE:
            byte = frame[-1] ^ key[(done - 1) % 4]
            if self._is_compressed:
                self._message.append(byte)
                if len(self._message) > self.maximum:
                    self._end("too big")
                    return
            else:
                self._data(byte)
        if done == size:
            if opcode >= CLOSE:
                body = bytes(one ^ key[place % 4] for place, one in enumerate(frame[start:]))
                self.found.append(("control", opcode, body))
            elif final and self._is_compressed:
                self.found.append(("deflated", bytes(self._message)))
                self._message.clear()
            frame.clear()

    def _data(self, byte: int) -> None:
        if self.found and self.found[-1][0] == "data":
            last = self.found[-1][1]
            assert isinstance(last, bytes)
            self.found[-1] = ("data", last + bytes([byte]))
        else:
            self.found.append(("data", bytes([byte])))
