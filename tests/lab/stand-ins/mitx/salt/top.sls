base:
  'edx*-base':
    - edx.base
