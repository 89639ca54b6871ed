#include "signatures.h"

#include "clones.h"

namespace catalogd {

CATALOGD_CLONES
std::size_t alike_in_runs(const std::uint64_t *held, const std::uint64_t *asking, const Run *runs,
                          std::size_t count, int most_bits, Alike *out) {
    std::size_t found = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const std::uint64_t *one = asking + i * kSignatureWords;
        for (std::int64_t j = runs[i].begin; j < runs[i].end; ++j) {
            const std::uint64_t *other = held + static_cast<std::size_t>(j) * kSignatureWords;
            int bits = 0;
            for (std::size_t word = 0; word < kSignatureWords; ++word) {
                bits += __builtin_popcountll(one[word] ^ other[word]);
            }
            if (bits <= most_bits) out[found++] = {j, static_cast<std::int64_t>(i), bits};
        }
    }
    return found;
}

}  // namespace catalogd
