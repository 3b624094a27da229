include(CMakeFindDependencyMacro)
find_dependency(hwy CONFIG)
include("${CMAKE_CURRENT_LIST_DIR}/orthoedge_native-targets.cmake")
