// Storage of correlation vectors, one vector a row. uint8 holds round((c + 1) · 127.5), so the error of an entry is at
// most 1/255 and that of a distance at most 2/255.
#pragma once

namespace sac {

enum class VectorForm { uint8, float16, float32, float64 };

}  // namespace sac
