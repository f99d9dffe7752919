#include "configuration.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "fault.h"

namespace emulation {
static Configuration current;

const Configuration &configuration() { return current; }

// number reads a number from 1 to most that is all of text.
static bool number(const std::string &text, long most, long *to) {
  char *end;
  *to = std::strtol(text.c_str(), &end, 10);
  return !text.empty() && !*end && *to >= 1 && *to <= most;
}

static bool set(Configuration &c, const std::string &setting) {
  auto equals = setting.find('=');
  std::string name = setting.substr(0, equals), value = equals == std::string::npos ? "" : setting.substr(equals + 1);
  long n;
  if (setting == "blocks=reversed") return c.blocks_reversed = true;
  if (setting == "threads=reversed") return c.threads_reversed = true;
  if (setting == "work=late") return c.late = true;
  if (name == "memory" && number(value, 1 << 20, &n)) return c.memory = static_cast<size_t>(n) << 20, true;
  if (name == "devices" && number(value, 16, &n)) return c.devices = static_cast<int>(n), true;
  if (name == "fail" && number(value, 1L << 40, &n)) return c.fail = n, true;
  if (name == "capability" && value.size() == 3 && value[1] == '.') return c.major = value[0] - '0', c.minor = value[2] - '0', true;
  return false;
}

bool read_configuration() {
  const char *text = std::getenv("RINGLEADER_EMULATION");
  std::string rest = text ? text : "";
  Configuration next;
  while (!rest.empty()) {
    auto comma = rest.find(',');
    std::string setting = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    if (!set(next, setting)) {
      report("RINGLEADER_EMULATION: %s is not understood; see configuration.h", setting.c_str());
      return false;
    }
  }
  current = next;
  return true;
}
} // namespace emulation
