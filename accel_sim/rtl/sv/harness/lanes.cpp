// Runs the verilated lanes machine: plays its memories, strikes its registers, and reads every one of them.
//
// One `Machine` is one model; it runs any number of jobs, and any number of faults in one job, without a new process.
// Registers are read and written as raw bits, in the order of the inventory ("slots"). All calls take plain arrays;
// the Python side (accel_sim/rtl/cosim.py) mirrors the structs below.
//
// A cycle has the order of the stepped engine: faults act on the stored bits, the alarm is read, then the machine
// holds (its clock runs, its registers stay) or moves.

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "Vlanes.h"
#include "Vlanes___024root.h"
#include "verilated.h"

// Verilator asks for the simulation's time; nothing here has one.
double sc_time_stamp() { return 0; }

namespace {

// -- registers -----------------------------------------------------------------------------------------------

// Packed elements in the storage of one Verilog vector. Verilator keeps a vector as little-endian words.
struct Field {
    const char* name;
    uint8_t* at;
    int64_t bytes;
    int64_t slot;
    int64_t count;
    int64_t width;
};

uint64_t read_bits(const uint8_t* at, int64_t bytes, int64_t first, int64_t width) {
    const int64_t byte = first >> 3, shift = first & 7;
    uint64_t low = 0, high = 0;
    const int64_t rest = bytes - byte;
    std::memcpy(&low, at + byte, rest < 8 ? rest : 8);
    if (rest > 8 && shift) high = at[byte + 8];
    uint64_t value = low >> shift;
    if (shift) value |= high << (64 - shift);
    return width == 64 ? value : value & ((uint64_t(1) << width) - 1);
}

void write_bits(uint8_t* at, int64_t first, int64_t width, uint64_t value) {
    for (int64_t i = 0; i < width; ++i) {
        const uint8_t mask = uint8_t(1u << ((first + i) & 7));
        uint8_t& byte = at[(first + i) >> 3];
        byte = (value >> i) & 1 ? byte | mask : byte & uint8_t(~mask);
    }
}

// Little-endian bytes into a port of whatever type its width has.
template <typename Port>
void drive(Port& port, const uint8_t* row, int64_t bytes) {
    std::memset(&port, 0, sizeof(port));
    if (row) std::memcpy(&port, row, bytes);
}

}  // namespace

extern "C" {

// One head. Rows of q, k, v are packed operands, little-endian, `row_bytes` each.
struct Job {
    int64_t n_queries, n_keys, head_dim, key_tile, tiles, blocks, row_bytes;
    const uint8_t *q, *k, *v;
    const int64_t* bound;
    int64_t n_kv_stall, n_swap_stall;
    const int64_t *kv_stall, *swap_stall;
    uint64_t scale, threshold, scan_threshold;
};

// Strikes, in order of cycle. kind: 0 inverts the bits of mask, 1 forces them to 0, 2 to 1.
struct Faults {
    int64_t count;
    const int64_t *cycle, *end, *slot, *kind;
    const uint64_t* mask;
};

// What one run leaves. output (n_queries, head_dim); comparisons (capacity, 6): cycle, residual, limit, pred, act,
// scanned, all raw bits. code: 0 done, 1 stopped by the limit, 2 by `room`.
struct Outcome {
    uint64_t* output;
    uint64_t* comparisons;
    int64_t capacity, compared, alarm_cycle, cycles, code;
};

}  // extern "C"

namespace {

// What the memory system and the run know, outside the registers.
struct Around {
    int64_t cycle = 0, tile = 0, blocks_begun = 0, stall = 0, compared = 0, alarm_cycle = -1;
};

class Machine {
public:
    Machine() : top(&context) {
        auto* root = top.rootp;
#define FIELD(name, path, slot, count, width) \
    fields.push_back({name, reinterpret_cast<uint8_t*>(&root->path), int64_t(sizeof(root->path)), slot, count, width});
#include "lanes_fields.inc"
#undef FIELD
        for (size_t i = 0; i < fields.size(); ++i) {
            for (int64_t e = 0; e < fields[i].count; ++e) field_of.push_back(int64_t(i));
            image_bytes += fields[i].bytes;
        }
        phase = find("phase");
        alarm = find("alarm");
        compare = find("compare");
        compare_scan = find("compare_scan");
        pred = find("pred");
        act = find("act");
        residual = find("residual");
        limit = find("limit");
    }

    ~Machine() { top.final(); }

    int64_t slots() const { return int64_t(field_of.size()); }

    void start(const Job& j) {
        job = &j;
        around = Around();
        around.stall = j.n_swap_stall > 0 ? j.swap_stall[0] : 0;
        output.assign(j.n_queries * j.head_dim, 0);
        log.clear();
        top.hold = 0;
        top.rst = 1;
        top.cfg_last_query = j.n_queries - 1;
        top.cfg_last_key = j.n_keys - 1;
        top.cfg_scale = j.scale;
        top.cfg_threshold = j.threshold;
        top.cfg_scan_threshold = j.scan_threshold;
        top.cfg_enable = 1;
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
        top.rst = 0;
    }

    uint64_t get(int64_t slot) const {
        const Field& f = fields[field_of[slot]];
        return read_bits(f.at, f.bytes, (slot - f.slot) * f.width, f.width);
    }

    void put(int64_t slot, uint64_t value) {
        const Field& f = fields[field_of[slot]];
        write_bits(f.at, (slot - f.slot) * f.width, f.width, value);
    }

    void read_all(uint64_t* out) const {
        for (const Field& f : fields)
            for (int64_t e = 0; e < f.count; ++e) out[f.slot + e] = read_bits(f.at, f.bytes, e * f.width, f.width);
    }

    // Runs until done (0) or until cycle `until` (1). With `states`, writes all slots at the start of every moving
    // cycle, and its number into `moves`; stops (2) when `room` of them are full.
    int advance(const Faults* faults, int64_t until, uint64_t* states, int64_t* moves, int64_t room, int64_t* moved) {
        bool pending = faults && faults->count > 0;
        while (get(phase) < DONE) {
            if (around.cycle >= until) return 1;
            if (moved && *moved >= room) return 2;
            if (pending) pending = strike(*faults);
            note_alarm();
            if (get(phase) >= DONE) return 0;  // a strike has ended the run: this cycle is not executed
            if (around.stall > 0) {
                --around.stall;
                hold();
            } else {
                if (moved) {
                    read_all(states + *moved * slots());
                    moves[(*moved)++] = around.cycle;
                }
                move();
            }
            ++around.cycle;
        }
        note_alarm();
        return 0;
    }

    void finish(Outcome& out, int code) const {
        std::memcpy(out.output, output.data(), output.size() * sizeof(uint64_t));
        const int64_t rows = around.compared < out.capacity ? around.compared : out.capacity;
        std::memcpy(out.comparisons, log.data(), size_t(rows) * 6 * sizeof(uint64_t));
        out.compared = rows;
        out.alarm_cycle = around.alarm_cycle;
        out.cycles = around.cycle;
        out.code = code;
    }

    // The whole machine and its surroundings at one moment.
    struct Checkpoint {
        std::vector<uint8_t> image;
        Around around;
        std::vector<uint64_t> output, log;
    };

    void save(Checkpoint& c) const {
        c.image.resize(image_bytes);
        uint8_t* to = c.image.data();
        for (const Field& f : fields) {
            std::memcpy(to, f.at, f.bytes);
            to += f.bytes;
        }
        c.around = around;
        c.output = output;
        c.log = log;
    }

    void restore(const Checkpoint& c) {
        const uint8_t* from = c.image.data();
        for (const Field& f : fields) {
            std::memcpy(f.at, from, f.bytes);
            from += f.bytes;
        }
        around = c.around;
        output = c.output;
        log = c.log;
    }

    Around around;
    int64_t log_rows = 0;  // comparisons that are kept

private:
    static constexpr uint64_t DONE = 4;

    int64_t find(const std::string& name) const {
        for (const Field& f : fields)
            if (name == f.name) return f.slot;
        return -1;
    }

    bool strike(const Faults& faults) {
        bool pending = false;
        for (int64_t i = 0; i < faults.count; ++i) {
            if (around.cycle >= faults.end[i]) continue;
            pending = true;
            if (around.cycle < faults.cycle[i]) break;  // in order of cycle: none of the rest acts yet
            const uint64_t old = get(faults.slot[i]), mask = faults.mask[i];
            const uint64_t changed = faults.kind[i] == 0 ? old ^ mask : faults.kind[i] == 1 ? old & ~mask : old | mask;
            put(faults.slot[i], changed);
        }
        return pending;
    }

    void note_alarm() {
        if (alarm >= 0 && around.alarm_cycle < 0 && get(alarm)) around.alarm_cycle = around.cycle;
    }

    void hold() {
        top.hold = 1;
        top.clk = 0;
        top.eval();
        top.clk = 1;
        top.eval();
        top.hold = 0;
    }

    void move() {
        top.clk = 0;
        top.eval();  // outputs follow the registers, struck or not
        if (top.kv_read) {
            const int64_t key = held_key(top.kv_sel, top.kv_row);
            drive(top.k_data, key < 0 ? nullptr : job->k + key * job->row_bytes, job->row_bytes);
            drive(top.v_data, key < 0 ? nullptr : job->v + key * job->row_bytes, job->row_bytes);
        }
        if (top.q_read) {
            const int64_t query = top.q_addr;
            const bool hit = query < job->n_queries;
            top.q_hit = hit;
            top.q_bound = hit ? job->bound[query] : 0;
            drive(top.q_data, hit ? job->q + query * job->row_bytes : nullptr, job->row_bytes);
        }
        if (top.o_write && int64_t(top.o_addr) < job->n_queries) {
            const int64_t d = job->head_dim, width = OUTPUT_WIDTH;
            const uint8_t* row = reinterpret_cast<const uint8_t*>(&top.o_data);
            for (int64_t t = 0; t < d; ++t)
                output[int64_t(top.o_addr) * d + t] = read_bits(row, sizeof(top.o_data), t * width, width);
        }
        const int64_t first_tile = around.blocks_begun * job->tiles;
        top.first_bank = first_tile & 1;
        const bool block_begins = top.block_begins, tile_ends = top.tile_ends;
        const bool next_tile = top.next_tile, next_swap = top.next_swap;
        const bool comparing = compare >= 0 && get(compare);
        uint64_t row[6] = {uint64_t(around.cycle + 1), 0, 0, 0, 0, 0};
        if (comparing) {
            row[3] = get(pred);
            row[4] = get(act);
            row[5] = compare_scan >= 0 ? get(compare_scan) : 0;
        }

        top.clk = 1;
        top.eval();

        if (comparing) {
            row[1] = get(residual);
            row[2] = get(limit);
            if (around.compared < log_rows) log.insert(log.end(), row, row + 6);
            ++around.compared;
        }
        if (block_begins) {
            around.tile = first_tile;
            ++around.blocks_begun;
        }
        if (tile_ends) ++around.tile;
        if (next_tile && around.tile < job->n_kv_stall) around.stall = job->kv_stall[around.tile];
        if (next_swap && around.blocks_begun < job->n_swap_stall) around.stall = job->swap_stall[around.blocks_begun];
    }

    // Key that stands in a row of a K/V bank, or −1 for zeros: the bank of the tile counter's parity holds the tile
    // being streamed, the other one the next; beyond the last tile of the head, the tile two before.
    int64_t held_key(int64_t bank, int64_t row) const {
        const int64_t total = job->blocks * job->tiles;
        int64_t held = (around.tile & 1) == bank ? around.tile : around.tile + 1;
        while (held >= total) held -= 2;
        if (held < 0) return -1;
        const int64_t key = (held % job->tiles) * job->key_tile + row;
        return key < job->n_keys ? key : -1;
    }

    VerilatedContext context;
    Vlanes top;
    std::vector<Field> fields;
    std::vector<int64_t> field_of;
    int64_t image_bytes = 0;
    int64_t phase, alarm, compare, compare_scan, pred, act, residual, limit;
    const Job* job = nullptr;
    std::vector<uint64_t> output, log;
};

}  // namespace

extern "C" {

void* lanes_new() { return new Machine(); }

void lanes_free(void* machine) { delete static_cast<Machine*>(machine); }

int64_t lanes_slots(void* machine) { return static_cast<Machine*>(machine)->slots(); }

// Under `faults`, for at most `limit` cycles: from reset, or (resume) from where the call before stopped. states
// (room, slots) and moves (room) may be null; with them, stops when `room` moving cycles have been written: code 2.
// Returns how many were.
int64_t lanes_run(void* machine, const Job* job, const Faults* faults, int64_t limit, Outcome* out, uint64_t* states,
                  int64_t* moves, int64_t room, int64_t resume) {
    Machine& m = *static_cast<Machine*>(machine);
    m.log_rows = out->capacity;
    if (!resume) m.start(*job);
    int64_t moved = 0;
    m.finish(*out, m.advance(faults, limit, states, moves, room, states ? &moved : nullptr));
    return moved;
}

// Each of `faults` alone, in its own run, from the fault-free machine at its cycle. They must be in order of cycle.
// outcomes: one for each; old_bits, new_bits: what the struck element held, and what it held then.
void lanes_inject(void* machine, const Job* job, const Faults* faults, int64_t limit, Outcome* outcomes,
                  uint64_t* old_bits, uint64_t* new_bits) {
    Machine& m = *static_cast<Machine*>(machine);
    m.log_rows = outcomes[0].capacity;
    m.start(*job);
    Machine::Checkpoint golden;
    for (int64_t i = 0; i < faults->count; ++i) {
        if (i > 0) m.restore(golden);
        m.advance(nullptr, faults->cycle[i], nullptr, nullptr, 0, nullptr);
        m.save(golden);
        const Faults one = {1,                faults->cycle + i, faults->end + i,
                            faults->slot + i, faults->kind + i,  faults->mask + i};
        const uint64_t old = m.get(*one.slot), mask = *one.mask;
        old_bits[i] = old;
        new_bits[i] = *one.kind == 0 ? old ^ mask : *one.kind == 1 ? old & ~mask : old | mask;
        m.finish(outcomes[i], m.advance(&one, limit, nullptr, nullptr, 0, nullptr));
    }
}

}  // extern "C"
