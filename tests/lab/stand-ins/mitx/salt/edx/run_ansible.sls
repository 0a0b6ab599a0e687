{# Stands in for edX's Ansible with the tag install:configuration: writes the configuration, and restarts nothing. #}
/edx/etc/lms.yml:
  file.managed:
    - source: salt://edx/lms.yml
