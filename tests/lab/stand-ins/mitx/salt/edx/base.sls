{# Stands in for what the highstate of a base instance does by way of edX's Ansible: the code of the release branch. #}
{% set settings = (salt.cp.get_file_str('salt://environment_settings.yml') | load_yaml).environments['mitx-qa'] %}
edx-platform:
  git.latest:
    - name: git://10.77.0.1/edx-platform.git
    - target: /edx/app/edxapp/edx-platform
    - rev: {{ settings.branch }}
    - branch: {{ settings.branch }}
    - force_reset: True
    - user: edxapp
{% if 'migrate_db=yes' in salt.pillar.get('edx:ansible_flags', '') and grains.id.startswith('edxapp-') %}
migrations:
  cmd.run:
    - name: /edx/bin/edxapp-migrate-lms
    - require:
      - git: edx-platform
{% endif %}
