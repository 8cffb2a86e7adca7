# Installation: headers, library, program, a CMake package (fovea::fovea) and fovea.pc.
# The dependencies of the library are private to it, so neither package asks for any.
include(CMakePackageConfigHelpers)

install(DIRECTORY include/fovea DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
install(TARGETS fovea_library EXPORT foveaTargets)
if(TARGET fovea_program)
  install(TARGETS fovea_program)
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/fovea)
install(EXPORT foveaTargets NAMESPACE fovea:: DESTINATION ${package_dir})
configure_package_config_file(cmake/foveaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/package/foveaConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(
  ${PROJECT_BINARY_DIR}/package/foveaConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/package/foveaConfig.cmake
  ${PROJECT_BINARY_DIR}/package/foveaConfigVersion.cmake
  DESTINATION ${package_dir})

file(RELATIVE_PATH pc_to_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(cmake/fovea.pc.in ${PROJECT_BINARY_DIR}/package/fovea.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/package/fovea.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
