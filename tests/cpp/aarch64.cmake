# Cross compilation for aarch64 (Debian: g++-aarch64-linux-gnu), run by qemu (Debian: qemu-user-static or qemu-user).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(SAC_QEMU NAMES qemu-aarch64-static qemu-aarch64 REQUIRED)
set(CMAKE_CROSSCOMPILING_EMULATOR ${SAC_QEMU} -L /usr/aarch64-linux-gnu)
