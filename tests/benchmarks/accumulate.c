/* The additions of the Speck emulator and nothing else, as its opponent: for every event, v[k] += w[k] over the neurons that it
   visits.  Arrays and column names are those of nirhw/targets/speck/kernel.py; the names come in as -D options. */
#include <stdint.h>

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

int64_t accumulate(const int64_t *cores, const int8_t *weights, const int64_t *events, int16_t *states, int64_t n_events)
{
    int64_t updates = 0;
    for (int64_t e = 0; e < n_events; e++) {
        const int64_t *core = cores + (events[e] >> CORE_SHIFT) * GEOMETRY_COLUMNS;
        const int64_t channel = (events[e] >> CHANNEL_SHIFT) & MASK;
        const int64_t y = ((events[e] >> Y_SHIFT) & MASK) + core[PAD_Y], x = (events[e] & MASK) + core[PAD_X];
        const int64_t sy = 1 << core[STRIDE_SHIFT_Y], sx = 1 << core[STRIDE_SHIFT_X], size = core[KERNEL], step = core[STEP];
        const int64_t at_y = y / sy, phase_y = y % sy, at_x = x / sx, phase_x = x % sx;
        if (phase_y >= size || phase_x >= size)
            continue;
        const int64_t low_y = at_y - (size - 1 - phase_y) / sy, low_x = at_x - (size - 1 - phase_x) / sx;
        const int64_t first_x = most(low_x, 0), last_x = least(at_x, core[OUT_X] - 1);
        const int64_t block_y = (size + sy - 1) / sy, block_x = (size + sx - 1) / sx;
        const int8_t *block = weights + core[FIRST_WEIGHT]
            + ((channel * sy + phase_y) * sx + phase_x) * block_y * block_x * step;
        for (int64_t row = most(low_y, 0); row <= least(at_y, core[OUT_Y] - 1); row++) {
            const int8_t *w = block + ((row - low_y) * block_x + first_x - low_x) * step;
            int16_t *v = states + core[FIRST_NEURON] + (row * core[OUT_X] + first_x) * step;
            const int64_t run = (last_x - first_x + 1) * step;
            for (int64_t k = 0; k < run; k++)
                v[k] += w[k];
            updates += run > 0 ? run : 0;
        }
    }
    return updates;
}
