// _core.Codec: what an index is made with.
#pragma once

#include <memory>

#include "codecs/codec.h"

namespace nearbit {

struct BoundCodec {
    std::shared_ptr<const Codec> codec;
};

}  // namespace nearbit
