{# Stands in for MITx's state of this name: instances of the newest images, and their configuration. #}
{% set environment = salt.environ.get('ENVIRONMENT') %}
{% set codename = (salt.cp.get_file_str('salt://environment_settings.yml') | load_yaml).environments[environment].codename %}
{% set number = salt.sdb.get('sdb://consul/edxapp-' ~ codename ~ '-release-version') %}
deploy_edx_instances:
  salt.runner:
    - name: edx.provision
    - environment: {{ environment }}
    - purposes: {{ salt.environ.get('PURPOSES') }}

configure_edx_instances:
  salt.state:
    - tgt: 'edx-*{{ environment }}-*-v{{ number }}'
    - sls: edx.run_ansible
    - pillar:
        edx:
          ansible_flags: {{ salt.environ.get('ANSIBLE_FLAGS') | json }}
    - require:
      - salt: deploy_edx_instances

restart_edx_instances:
  salt.function:
    - name: supervisord.restart
    - tgt: 'edx-*{{ environment }}-*-v{{ number }}'
    - arg:
      - all
    - kwarg:
        bin_env: /edx/bin/supervisorctl
    - require:
      - salt: configure_edx_instances
