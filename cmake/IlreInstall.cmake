# PREFIX/bin, PREFIX/lib/ilre (libtorch's part, loaded only when asked for) and PREFIX/share/ilre, where the programs look
# for models and profiles.
#   cmake --install build/release --prefix PREFIX --component runtime    programs and profiles
#   ... --component torch                                                libilre_torch.so
#   ... --component model                                                the default model, as scripts/setup fetched it
foreach(program ilre ilre-encoder ilre-retriever ilre-generator)
  if(TARGET ${program})
    install(TARGETS ${program} RUNTIME DESTINATION bin COMPONENT runtime)
  endif()
endforeach()
if(TARGET ilre_torch_backend)
  set_target_properties(ilre_torch_backend PROPERTIES INSTALL_RPATH "${ILRE_TORCH_ROOT}/lib")
  install(TARGETS ilre_torch_backend LIBRARY DESTINATION lib/ilre COMPONENT torch)
endif()
install(DIRECTORY profiles/ DESTINATION share/ilre/profiles COMPONENT runtime)
install(DIRECTORY models/ DESTINATION share/ilre/models COMPONENT model FILES_MATCHING PATTERN "*.gguf")
