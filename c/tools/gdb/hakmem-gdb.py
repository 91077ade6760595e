"""hakmem-gdb.py - commands for gdb that show the blocks and the statistics of hakmem.

SPDX-License-Identifier: MIT OR Apache-2.0

    hakmem block ADDRESS    the block that contains an address, its state, and its neighbours
    hakmem stats            the statistics of the process, and a row for each size class in use

The commands call no function of the program. So they work on core dumps, and regardless of the
locks that threads hold. They need the debug information of hakmem (-g), which all builds of the
Makefile have. Fields are read by name, so a new field of a structure needs no change here.
"""

import gdb

GRANULE_SHIFT = 16
WORD_BYTES = 8
CACHED, REFUSED = 0, 1  # the indexes of hk_extents
NAME_WIDTH = 20


# ---- Memory and variables -----------------------------------------------------------------------


def fail(text):
    raise gdb.GdbError("hakmem: " + text)


def variables():
    """Returns a function that finds variables of the core by name, static ones too."""
    symbol = gdb.lookup_global_symbol("hk_threads")
    if symbol is None:
        try:
            gdb.parse_and_eval("&hak_version")
        except gdb.error:
            fail("this program does not contain hakmem, or has not loaded it yet")
        fail(
            "hakmem has no debug information here. Build it with -g and without stripping it, or "
            "install libhakmem0-dbgsym"
        )

    blocks = (symbol.symtab.static_block(), symbol.symtab.global_block())

    def find(name):
        for block in blocks:
            for candidate in block:
                if candidate.name == name and candidate.is_variable:
                    return candidate.value()
        # Unlike the release, a build of separate files has one block for each file.
        candidate = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
        if candidate is None:
            fail(f"there is no variable {name}: this script is of another version than the library")
        return candidate.value()

    return find


def read_words(address, count):
    if count <= 0:
        return []
    memory = gdb.selected_inferior().read_memory(address, count * WORD_BYTES)
    return memoryview(memory).cast("B").cast("Q").tolist()


def element_count(array):
    low, high = array.type.range()
    return high - low + 1


def bit(words, index):
    return int(words[index // 64]) >> (index % 64) & 1


def has_field(value, name):
    return any(field.name == name for field in value.type.fields())


def linked(first, link):
    """The structures of a list that ends with NULL."""
    while int(first) != 0:
        yield first.dereference()
        first = first[link]


# ---- The structures of hakmem -------------------------------------------------------------------


class Core:
    def __init__(self):
        self.find = variables()
        self.classes = self.find("hk_classes")
        self.class_count = element_count(self.classes)
        if int(self.find("heaps")["count"]) == 0:
            fail("the process has not allocated memory yet")

    def heaps(self):
        table = self.find("heaps")
        return [table["heaps"][i].dereference() for i in range(int(table["count"]))]

    def threads(self):
        return linked(self.find("hk_threads")["first"], "next")

    def transfer_caches(self):
        transfers = self.find("transfers")
        for cpu in range(int(transfers["cpus"])):
            if int(transfers["caches"][cpu]) != 0:
                yield cpu, transfers["caches"][cpu].dereference()

    def cached_blocks(self, number):
        """A dictionary of the cached blocks of a class. Its values name the caches."""
        cached = {}
        for thread in self.threads():
            floor, top = int(thread["floor"][number]), int(thread["cache"]["bins"][number]["top"])
            for block in read_words(floor, (top - floor) // WORD_BYTES):
                cached[block] = thread_name(thread)
        for cpu, cache in self.transfer_caches():
            row = cache["classes"][number]
            for block in read_words(int(row["blocks"]), int(row["count"])):
                cached[block] = f"the transfer cache of CPU {cpu}"
        return cached

    def find_span(self, address):
        """The span that contains an address, or None."""
        root = self.find("pagemap_root")
        leaves = read_words(int(root.address), element_count(root))
        span_type = gdb.lookup_type("struct hk_span").pointer()
        leaf_spans = element_count(root.type.target().target()["spans"])
        granule = address >> GRANULE_SHIFT

        # Only the first granule of a large block is in the pagemap.
        position = granule % leaf_spans
        for leaf in reversed(leaves[: granule // leaf_spans + 1]):
            spans = read_words(leaf, position + 1) if leaf != 0 else []
            for span in reversed(spans):
                if span != 0:
                    span = gdb.Value(span).cast(span_type).dereference()
                    base, size = int(span["base"]), span_size(span)
                    return span if base <= address < base + size else None
            position = leaf_spans - 1
        return None


def span_size(span):
    """The size of a span in bytes, including the unused end of a slab."""
    return max(int(span["bytes"]), int(span["granules"]) << GRANULE_SHIFT)


def thread_name(thread):
    if thread["is_parked"]:
        return "the parked cache of a thread that ended"
    return f"the cache of thread {int(thread['id']) & 0xFFFFFFFF}"


# ---- hakmem block -------------------------------------------------------------------------------


def show(name, text):
    print(f"{name:<11}{text}")


PRIVATE = 1  # a bit of the owner of a span, HK_SPAN_PRIVATE


def owner(span):
    """The heap of a span: a struct hk_heap, or a struct hak_heap if the heap is private."""
    address = int(span["owner"])
    if address & PRIVATE:
        part = gdb.Value(address & ~PRIVATE).cast(gdb.lookup_type("struct hk_own_part").pointer())
        return part["heap"].dereference(), True
    heap = gdb.Value(address).cast(gdb.lookup_type("struct hk_heap").pointer())
    return heap.dereference(), False


def span_kind(span):
    return str(span["kind"].cast(gdb.lookup_type("enum hk_span_kind")))


class Slab:
    """The blocks of a slab, by index."""

    def __init__(self, core, span):
        self.heap, self.is_private = owner(span)
        self.span = span
        self.base = int(span["base"])
        self.number = int(span["class"])
        self.block_bytes = int(core.classes[self.number]["block_bytes"])
        self.blocks = int(span["blocks"])
        self.bump = int(span["bump"])
        self.free = read_words(int(span["bits"].address), (self.blocks + 63) // 64)
        self.cached = {} if self.is_private else core.cached_blocks(self.number)

    def address(self, index):
        return self.base + index * self.block_bytes

    def is_being_purged(self, index):
        if self.is_private or int(self.heap["purging"]) != int(self.span.address):
            return False
        return bit(self.heap["purging_bits"], index)

    def state(self, index):
        if index >= self.bump:
            return "free, unused so far"
        if bit(self.free, index) or self.is_being_purged(index):
            return "free"
        if self.is_private:
            return "allocated, or free in a cache of its private heap"
        cache = self.cached.get(self.address(index))
        return f"free, in {cache}" if cache is not None else "allocated"

    def neighbour(self, index):
        if not 0 <= index < self.blocks:
            return "none, the slab ends here"
        return f"{self.address(index):#x}, {self.state(index)}"


def show_slab(core, span, address):
    slab = Slab(core, span)
    index, inside = divmod(address - slab.base, slab.block_bytes)
    free = int(span["free"])
    used = f"{slab.bump - free} allocated or cached"

    if index < slab.blocks:
        show("block", f"{slab.address(index):#x}, {slab.block_bytes} bytes")
        show("address", f"{inside} bytes after the start of the block")
        show("state", slab.state(index))
        show("before", slab.neighbour(index - 1))
        show("after", slab.neighbour(index + 1))
    else:
        show("block", "none, the address is in the unused end of a slab")
    show("class", f"{slab.number}, blocks of {slab.block_bytes} bytes")
    show("slab", f"{slab.base:#x}, {span_size(span) >> 10} KiB")
    show("blocks", f"{slab.blocks}: {used}, {free} free, {slab.blocks - slab.bump} unused so far")


def large_state(core, span):
    if not span["retired"]:
        return "allocated"
    for thread in core.threads():
        spans = thread["large"]["spans"]
        if any(int(spans[i]) == int(span.address) for i in range(element_count(spans))):
            return "free, in " + thread_name(thread)
    return "free"


def large_neighbour(core, address):
    span = core.find_span(address)
    if span is None:
        return "no block"
    if span_kind(span) == "HK_SPAN_GUARDED":
        return f"{int(span['base']):#x}, a place of the guard"
    if int(span["class"]) != 0:
        return f"{int(span['base']):#x}, a slab of class {int(span['class'])}"
    return f"{int(span['base']):#x}, {int(span['bytes'])} bytes, {large_state(core, span)}"


def show_large(core, span, address):
    base = int(span["base"])
    granules = int(span["chunk"]) != 0
    show("block", f"{base:#x}, {int(span['bytes'])} bytes")
    show("address", f"{address - base} bytes after the start of the block")
    show("state", large_state(core, span))
    show("class", "large, " + ("granules of an arena" if granules else "a mapping of its own"))
    show("before", large_neighbour(core, base - 1))
    show("after", large_neighbour(core, base + span_size(span)))


def show_event(name, event):
    """Shows the thread and the stack of the allocation or the free of a guarded block."""
    show(name, f"by thread {int(event['thread']) & 0xFFFFFFFF}, from")
    for i in range(int(event["depth"])):
        frame = int(event["frames"][i])
        symbol = gdb.execute(f"info symbol {frame - 1:#x}", to_string=True).split(" in section")[0]
        print(f"{'':<11}{frame:#x} {symbol.strip()}")


def show_slot(span, address):
    """Shows a slot, the place of one block between inaccessible pages."""
    slot = span["owner"].cast(gdb.lookup_type("struct hk_slot").pointer()).dereference()
    state = str(slot["state"])
    block, size = int(slot["block"]), int(span["bytes"])
    if state == "HK_SLOT_UNUSED":
        show("block", "none, the address is in an unused place of the guard")
        return
    inside = address - block
    if inside < 0:
        where = f"{-inside} bytes before the start of the block"
    elif inside < size:
        where = f"{inside} bytes after the start of the block"
    else:
        where = f"{inside - size} bytes after the end of the block"
    show("block", f"{block:#x}, {size} bytes, guarded")
    show("address", where)
    show("state", "allocated" if state == "HK_SLOT_LIVE" else "free")
    show_event("allocated", slot["created"])
    if state == "HK_SLOT_FREED":
        show_event("freed", slot["freed"])


def show_owner(core, span):
    heap, is_private = owner(span)
    if is_private:
        name = heap["name"].string()
        show("heap", f"(struct hak_heap *) {int(heap.address):#x}, private, {name}")
    else:
        show("heap", f"{int(heap['number'])} of {len(core.heaps())}")


def show_free(core, address):
    """Shows an address without a span, if it is in memory that hakmem holds."""
    for kind, text in ((CACHED, "a cached extent"), (REFUSED, "an extent without pages")):
        for extent in linked(core.find("hk_extents")[kind]["first"], "next"):
            if int(extent["base"]) <= address < int(extent["base"]) + int(extent["bytes"]):
                show("block", f"none, the address is in {text}")
                show("extent", f"{int(extent['base']):#x}, {int(extent['bytes'])} bytes")
                return
    for heap in core.heaps():
        for chunk in linked(heap["arena"]["chunks"], "older"):
            granule = address - int(chunk["base"]) >> GRANULE_SHIFT
            if 0 <= granule < int(chunk["granules"]):
                dirty = "dirty" if bit(chunk["committed"], granule) else "clean"
                show("block", f"none, the address is in a free granule, which is {dirty}")
                show("chunk", f"{int(chunk['base']):#x}, {int(chunk['granules'])} granules")
                show("heap", int(heap["number"]))
                return
    show("block", "none, the address is not in a block of hakmem")


def show_block(core, address):
    span = core.find_span(address)
    if span is None:
        show_free(core, address)
        return
    kind = span_kind(span)
    if kind == "HK_SPAN_GUARDED":
        show_slot(span, address)
    else:
        show_block_of_heap = show_slab if int(span["class"]) != 0 else show_large
        show_block_of_heap(core, span, address)
        if kind != "HK_SPAN_PLAIN":
            show("kind", kind)
        show_owner(core, span)
    show("span", f"(struct hk_span *) {int(span.address):#x}")


# ---- hakmem stats -------------------------------------------------------------------------------


def class_row(core, heaps, number):
    """The counts of a class, as in struct hak_class_stats."""
    row = dict.fromkeys(("slabs", "live", "cached", "refills", "flushes", "puts", "takes"), 0)
    for heap in heaps:
        at = heap["classes"][number]
        row["slabs"] += int(at["slabs"])
        row["live"] += int(at["blocks_allocated"])
        row["refills"] += int(at["refills"])
        row["flushes"] += int(at["flushes"])
    for thread in core.threads():
        slots = int(thread["cache"]["bins"][number]["top"]) - int(thread["floor"][number])
        row["cached"] += slots // WORD_BYTES
    for _, cache in core.transfer_caches():
        at = cache["classes"][number]
        row["cached"] += int(at["count"])
        row["takes"] += int(at["takes"])
        row["puts"] += int(at["puts"])

    layout = core.classes[number]
    row["refills"] += row["takes"]
    row["flushes"] += row["puts"]
    row["free"] = row["slabs"] * int(layout["blocks"]) - row["live"]
    row["cached"] = min(row["cached"], row["live"])
    row["live"] -= row["cached"]
    row["block"] = int(layout["block_bytes"])
    row["slab"] = int(layout["granules"]) << GRANULE_SHIFT
    return row


def large_bytes(core):
    """The bytes of all large blocks, and of those that are cached by threads."""
    large = core.find("large")
    mapped = (int(large["mapped"]) & ((1 << 40) - 1)) << GRANULE_SHIFT
    cached = sum(int(thread["large"]["bytes"]) for thread in core.threads())
    return mapped + int(large["granule_bytes"]), cached


def totals(core, heaps, rows):
    """The statistics of the process, with the names of struct hak_stats."""
    large, large_cached = large_bytes(core)
    live_large = max(large - large_cached, 0)
    guarded = int(core.find("slots")["live_bytes"])
    stats = {
        "bytes_live": sum(row["live"] * row["block"] for row in rows) + live_large + guarded,
        "bytes_cached": sum(row["cached"] * row["block"] for row in rows),
        "bytes_slabs": sum(row["slabs"] * row["slab"] for row in rows),
        "bytes_large": live_large,
        "bytes_large_cached": large_cached + int(core.find("hk_extents")[CACHED]["bytes"]),
        "bytes_guarded": guarded,
        "bytes_dirty": int(core.find("arena_dirty_bytes")),
        "bytes_used": int(core.find("usage_bytes")),
        "bytes_huge": int(core.find("chunk_huge_bytes")),
        "bytes_metadata": int(core.find("meta")["bytes"]),
    }
    counts = core.find("hk_os_counts")
    for field in counts.type.fields():
        stats[field.name] = int(counts[field.name])
    stats["threads"] = sum(1 for thread in core.threads() if not thread["is_parked"])
    stats["heaps"] = len(heaps)
    stats["refills"] = sum(row["refills"] for row in rows)
    stats["flushes"] = sum(row["flushes"] for row in rows)
    stats["transfer_puts"] = sum(row["puts"] for row in rows)
    stats["transfer_takes"] = sum(row["takes"] for row in rows)
    stats["lock_waits"] = int(core.find("hk_lock_counts")["sleeps"])
    stats["errors"] = int(core.find("hk_errors"))
    return stats


def show_stats(core):
    heaps = core.heaps()
    rows = [class_row(core, heaps, number) for number in range(1, core.class_count)]
    for name, value in totals(core, heaps, rows).items():
        print(f"{name:<{NAME_WIDTH}}{value:>16}")

    columns = ("block", "slab", "slabs", "live", "cached", "free")
    columns += ("refills", "flushes", "puts", "takes")
    print()
    print("".join(f"{column:>10}" for column in columns))
    for row in rows:
        if row["slabs"] != 0:
            print("".join(f"{row[column]:>10}" for column in columns))


# ---- Commands -----------------------------------------------------------------------------------


class Hakmem(gdb.Command):
    """Show blocks and statistics of the memory allocator hakmem."""

    def __init__(self):
        super().__init__("hakmem", gdb.COMMAND_DATA, prefix=True)


class Subcommand(gdb.Command):
    def run(self, argument):
        raise NotImplementedError

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            self.run(argument)
        except gdb.MemoryError as error:
            fail(f"memory cannot be read: {error}")
        except (gdb.error, KeyError) as error:
            fail(f"{error} (is this script of the same version as the library?)")


class HakmemBlock(Subcommand):
    """Show the block that contains an address: hakmem block ADDRESS

    The output has the block's class, slab, state, neighbours and owner heap.
    A cached block was freed, and is in the cache of a thread or of a CPU."""

    def __init__(self):
        super().__init__("hakmem block", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def run(self, argument):
        if not argument:
            fail("hakmem block needs an address or a pointer")
        try:
            address = int(gdb.parse_and_eval(argument)) & (1 << 64) - 1
        except gdb.error as error:
            fail(str(error))
        show_block(Core(), address)


class HakmemStats(Subcommand):
    """Show the statistics of hakmem, with the names of struct hak_stats."""

    def __init__(self):
        super().__init__("hakmem stats", gdb.COMMAND_DATA)

    def run(self, _argument):
        show_stats(Core())


Hakmem()
HakmemBlock()
HakmemStats()
