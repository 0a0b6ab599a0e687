update_edxapp_ami_values:
  salt.runner:
    - name: edx.update_sdb
    - environment: {{ salt.environ.get('ENVIRONMENT') }}
