// Signatures of pictures, of 256 bits, compared by the bits in which they differ.
#pragma once

#include <cstddef>
#include <cstdint>

namespace catalogd {

constexpr std::size_t kSignatureWords = 4;  // of 64 bits

struct Run {  // of signatures that one is compared with: [begin, end)
    std::int64_t begin, end;
};

struct Alike {
    std::int64_t held, asking, bits;
};

// Compares signature i of `asking` with the run i of those held. The pairs that differ in at most
// `most_bits` go to `out`, which has room for as many as the runs are long. Returns how many they are.
std::size_t alike_in_runs(const std::uint64_t *held, const std::uint64_t *asking, const Run *runs,
                          std::size_t count, int most_bits, Alike *out);

}  // namespace catalogd
