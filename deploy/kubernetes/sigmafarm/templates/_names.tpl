{{- define "sigmafarm.name" -}}
{{ .Release.Name }}
{{- end -}}

{{- define "sigmafarm.labels" -}}
app.kubernetes.io/name: sigmafarm
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sigmafarm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "sigmafarm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "sigmafarm.env" -}}
- name: SIGMAFARM_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.farm.secret }}, key: SIGMAFARM_REDIS_URL}}
- name: AWS_ACCESS_KEY_ID
  valueFrom: {secretKeyRef: {name: {{ .Values.farm.secret }}, key: AWS_ACCESS_KEY_ID}}
- name: AWS_SECRET_ACCESS_KEY
  valueFrom: {secretKeyRef: {name: {{ .Values.farm.secret }}, key: AWS_SECRET_ACCESS_KEY}}
- name: SIGMAFARM_OBJECTS_URL
  value: {{ .Values.farm.objectsUrl | quote }}
{{- if .Values.farm.s3EndpointUrl }}
- name: SIGMAFARM_S3_ENDPOINT_URL
  value: {{ .Values.farm.s3EndpointUrl | quote }}
{{- end }}
- name: SIGMAFARM_LOG_FORMAT
  value: json
{{- range $name, $value := .Values.farm.settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
